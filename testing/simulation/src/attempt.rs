//! Drives `reminder_due::attempt` over the world, as `reminder_due::send` does over PostgreSQL, the provider and the scheduler.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reminder_due::{
    attempt::{self, Step},
    email::SendError,
};
use shared::delivery::DeliveryState;

use crate::{
    functions::{Away, Invocation, step},
    mistakes::Mistake,
    world::World,
};

/// The lock of a delivery. It ends with its holder.
struct Lock {
    invocation: Invocation,
    delivery: usize,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.invocation.now(|world| {
            if world.locks.get(&self.delivery) == Some(&self.invocation.id) {
                world.locks.remove(&self.delivery);
            }
        });
    }
}

/// `Sender::attempt`.
pub(crate) async fn attempt(invocation: &Invocation, delivery: usize) -> Result<(), Away> {
    let lock = |world: &mut World| *world.locks.entry(delivery).or_insert(invocation.id) == invocation.id;
    if !invocation.db(lock).await? {
        return Err(Away);
    }
    let lock = Lock { invocation: invocation.clone(), delivery };
    let done = attempt_locked(invocation, delivery).await;
    if done.is_ok() {
        invocation.now(|world| world.check_attempt_done(invocation.id, delivery));
    }
    step().await;
    drop(lock);
    done
}

/// `Sender::attempt_locked`: performs each step, except where the run makes a [`Mistake`].
async fn attempt_locked(invocation: &Invocation, delivery: usize) -> Result<(), Away> {
    let first = invocation.db(|world| world.snapshot(delivery)).await?;
    let (mistake, has_key, accepted) = invocation.now(|world| {
        let accepted = world.accepted[invocation.process].contains(&delivery);
        (world.mistake, world.has_key, accepted.then(String::new))
    });
    // When the attempt began: by the count of steps and by the clock.
    let mut begun = (0, first.now);
    let mut answered_at = first.now;
    let mut next = attempt::start(&first, has_key, accepted);
    loop {
        next = match next {
            Step::CheckThrottle(check) => {
                let until = invocation.now(|world| world.throttled_until.filter(|until| *until > first.now));
                check.found(until)
            }
            Step::Begin(begin) if mistake == Some(Mistake::CallBeforeBegin) => {
                begun = invocation.now(|world| (world.clock, world.now));
                begin.committed()
            }
            Step::Begin(begin) => {
                begun = invocation.db(|world| world.begin(delivery, begin.repeat)).await?;
                begin.committed()
            }
            Step::LookAgain(look) if mistake == Some(Mistake::SkipSecondLook) => look.found(&first),
            Step::LookAgain(look) => {
                let second = invocation.db(|world| world.snapshot(delivery)).await?;
                answered_at = second.now;
                look.found(&second)
            }
            Step::CallProvider(call) => {
                if mistake == Some(Mistake::RecordBeforeAnswer) {
                    invocation.db(|world| world.sent(delivery)).await?;
                }
                let answer = provider(invocation, delivery, begun).await;
                if mistake == Some(Mistake::CallBeforeBegin) {
                    invocation.db(|world| world.begin(delivery, false)).await?;
                }
                call.answered(answer, answered_at)
            }
            Step::RecordSent(sent) => {
                invocation.now(|world| world.accepted[invocation.process].insert(delivery));
                invocation.db(|world| world.sent(delivery)).await?;
                invocation.now(|world| world.accepted[invocation.process].remove(&delivery));
                sent.committed()
            }
            Step::ShareThrottle(throttle) => {
                invocation.now(|world| world.throttled_until = Some(throttle.until));
                throttle.shared()
            }
            Step::Postpone(postpone) => {
                let repeat = postpone.repeat && mistake != Some(Mistake::ForgetRepeat);
                invocation.db(|world| world.postpone(delivery, postpone.at, repeat)).await?;
                postpone.committed()
            }
            Step::End(end) => {
                invocation.db(|world| world.end(delivery, end.state)).await?;
                end.committed()
            }
            Step::ArmRetry(retry) if mistake == Some(Mistake::ArmNoRetry) => retry.armed(),
            Step::ArmRetry(retry) => {
                invocation.call(|world| world.arm_delivery(delivery, retry.attempts, retry.at)).await?;
                retry.armed()
            }
            Step::Done => return Ok(()),
            Step::TooEarly => return Err(Away),
        }
    }
}

/// `Provider::send`: an SMTP server, or a provider that knows our key.
async fn provider(invocation: &Invocation, delivery: usize, begun: (u64, DateTime<Utc>)) -> Result<String, SendError> {
    let reason = String::new;
    let attempts = invocation.now(|world| world.deliveries[delivery].attempts);
    step().await;
    let (luck, has_key) = invocation.now(|world| (world.luck, world.has_key));
    match luck {
        8 => return Err(SendError::Transient { reason: reason() }),
        9 => return Err(SendError::Throttled { retry_after: Duration::from_secs(1800), reason: reason() }),
        10 => {
            invocation.now(|world| world.deliveries[delivery].refused = true);
            return Err(SendError::Permanent { reason: reason() });
        }
        _ => {}
    }
    if !has_key {
        // Between SMTP's 354 and the body.
        let at_dot = |world: &mut World| {
            let row = &mut world.deliveries[delivery];
            let ours = row.record.state == DeliveryState::Sending && row.attempts == attempts;
            row.record.at_dot |= ours;
            row.dots += u32::from(ours);
            ours
        };
        if !invocation.db(at_dot).await.unwrap_or(false) {
            return Err(SendError::Transient { reason: reason() });
        }
    }
    step().await;
    let accepted = luck != 11;
    invocation.now(|world| world.message_leaves(invocation.id, delivery, begun, accepted));
    step().await;
    match luck {
        11 | 12 => Err(SendError::Unknown { reason: reason() }),
        _ => Ok(String::new()),
    }
}
