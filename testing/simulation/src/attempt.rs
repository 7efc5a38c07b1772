//! Drives `reminder_due::attempt` over the world, as `reminder_due::send` does over PostgreSQL, the provider and the scheduler.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reminder_due::{
    attempt::{self, Fence, Snapshot, Step},
    email::SendError,
};
use shared::delivery::DeliveryState;

use crate::{
    functions::{Away, Invocation, step},
    invariants::Leaving,
    mistakes::Mistake,
    world::{RECORD_LIMIT, World},
};

/// The deadline of a call. A process that stood still for longer sends nothing.
const CALL_DEADLINE: TimeDelta = TimeDelta::seconds(10);

/// `Sender::attempt`, called by the event or by the job of this name.
pub(crate) async fn attempt(invocation: &Invocation, delivery: usize, job: Option<&str>) -> Result<(), Away> {
    if invocation.now(|world| world.stopping[invocation.process]) {
        return Err(Away);
    }
    let attempts = perform(invocation, delivery, job).await?;
    invocation.now(|world| world.check_attempt_done(delivery, attempts));
    Ok(())
}

/// `Sender::attempt_on`: performs each step, except where the run makes a [`Mistake`]. Returns how many attempts it has seen begin.
async fn perform(invocation: &Invocation, delivery: usize, job: Option<&str>) -> Result<i32, Away> {
    let (mistake, has_key) = invocation.now(|world| (world.mistake, world.has_key));
    let mut row = invocation.db(|world| world.snapshot(delivery)).await?;
    let first = row;
    // When the attempt began: by the count of steps and by the clock.
    let mut begun = (0, row.now);
    if mistake == Some(Mistake::RepeatWithoutWaiting) {
        row.record.lease_until = row.now;
    }
    let mut next = attempt::start(&row, has_key, accepted(invocation, delivery));
    loop {
        next = match next {
            Step::CheckThrottle(check) => {
                let until = invocation.now(|world| world.throttled_until.filter(|until| *until > row.now));
                check.found(until)
            }
            Step::Begin(begin) if mistake == Some(Mistake::CallBeforeBegin) => {
                begun = invocation.now(|world| (world.clock, world.now));
                begin.committed()
            }
            Step::Begin(begin) => {
                let begins = |world: &mut World| world.begin(delivery, begin.fence(), begin.repeat);
                match invocation.db(begins).await? {
                    Some(at) => {
                        begun = at;
                        begin.committed()
                    }
                    None => begin.lost(),
                }
            }
            Step::LookAgain(look) if mistake == Some(Mistake::SkipSecondLook) => {
                row = invocation.db(|world| world.snapshot(delivery)).await?;
                look.found(&Snapshot { reminder: first.reminder, ..row })
            }
            // The row does not say yet that it has begun.
            Step::LookAgain(look) if mistake == Some(Mistake::CallBeforeBegin) => {
                row = invocation.db(|world| world.snapshot(delivery)).await?;
                row.record.state = DeliveryState::Sending;
                row.attempts += 1;
                look.found(&row)
            }
            Step::LookAgain(look) => {
                row = invocation.db(|world| world.snapshot(delivery)).await?;
                look.found(&row)
            }
            Step::ReadAgain(read) => {
                row = invocation.db(|world| world.snapshot(delivery)).await?;
                read.found(&row, accepted(invocation, delivery))
            }
            Step::CallProvider(call) if invocation.now(|world| world.stopping[invocation.process]) => {
                call.stopped(row.now)
            }
            Step::CallProvider(call) => {
                if mistake == Some(Mistake::RecordBeforeAnswer) {
                    invocation.db(|world| world.sent(delivery)).await?;
                }
                let answer = provider(invocation, delivery, row.attempts, begun).await;
                if mistake == Some(Mistake::CallBeforeBegin) {
                    let fence = Fence::Free { attempts: row.attempts - 1 };
                    invocation.db(|world| world.begin(delivery, fence, false)).await?;
                }
                invocation.reconnect();
                call.answered(answer, row.now)
            }
            Step::RecordSent(_) => {
                return record(invocation, delivery).await.map(|()| row.attempts);
            }
            Step::ShareThrottle(throttle) => {
                invocation.now(|world| world.throttled_until = Some(throttle.until));
                throttle.shared()
            }
            Step::Postpone(postpone) => {
                let repeat = postpone.repeat && mistake != Some(Mistake::ForgetRepeat);
                let postpones = |world: &mut World| world.postpone(delivery, postpone.fence(), postpone.at, repeat);
                if invocation.db(postpones).await? { postpone.committed() } else { postpone.lost() }
            }
            Step::End(end) => {
                let ends = |world: &mut World| world.end(delivery, end.fence(), end.state);
                if invocation.db(ends).await? { end.committed() } else { end.lost() }
            }
            Step::ArmRetry(retry) if mistake == Some(Mistake::ArmNoRetry) => retry.armed(),
            Step::ArmRetry(retry) => {
                invocation.call(|world| world.arm_delivery(delivery, retry.attempts, retry.at)).await?;
                retry.armed()
            }
            Step::Wait(wait) => {
                let next = invocation.now(|world| world.delivery_job(delivery, wait.attempts, wait.until));
                if job == Some(next.name.as_str()) {
                    invocation.call(|world| world.call_again(next)).await?;
                } else {
                    invocation.call(|world| world.arm_if_missing(next)).await?;
                }
                wait.armed()
            }
            Step::Done => return Ok(row.attempts),
        }
    }
}

fn accepted(invocation: &Invocation, delivery: usize) -> Option<String> {
    invocation.now(|world| world.accepted[invocation.process].contains(&delivery)).then(String::new)
}

/// `Accepted::record`, within the request.
async fn record(invocation: &Invocation, delivery: usize) -> Result<(), Away> {
    let until = invocation.now(|world| {
        world.accepted[invocation.process].insert(delivery);
        world.now + RECORD_LIMIT
    });
    while invocation.now(|world| world.accepted[invocation.process].contains(&delivery)) {
        if invocation.now(|world| world.now >= until) {
            return Err(Away);
        }
        try_to_record(invocation, delivery).await;
    }
    Ok(())
}

/// `Accepted::record_until_done`, in the background.
pub(crate) async fn record_accepted(invocation: Invocation) -> Result<(), Away> {
    for delivery in invocation.now(|world| world.accepted[invocation.process].clone()) {
        try_to_record(&invocation, delivery).await;
    }
    Ok(())
}

async fn try_to_record(invocation: &Invocation, delivery: usize) {
    invocation.reconnect();
    if invocation.db(|world| world.sent(delivery)).await.is_ok() {
        invocation.now(|world| world.accepted[invocation.process].remove(&delivery));
    }
}

/// `Provider::send`: an SMTP server, or a provider that knows our key.
async fn provider(
    invocation: &Invocation,
    delivery: usize,
    attempts: i32,
    begun: (u64, DateTime<Utc>),
) -> Result<String, SendError> {
    let reason = String::new;
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
        invocation.reconnect();
        if !invocation.db(|world| world.at_dot(delivery, attempts)).await.unwrap_or(false) {
            return Err(SendError::Transient { reason: reason() });
        }
    }
    let dot_at = invocation.now(|world| world.now);
    step().await;
    if !has_key && invocation.now(|world| world.now - dot_at >= CALL_DEADLINE) {
        return Err(SendError::Transient { reason: reason() });
    }
    let answered_to = (!matches!(luck, 11 | 12)).then_some(invocation.process);
    let message = Leaving { attempts, begun, dot_at, accepted: luck != 11, answered_to };
    invocation.now(|world| world.message_leaves(delivery, &message));
    step().await;
    match luck {
        11 | 12 => Err(SendError::Unknown { reason: reason() }),
        _ => Ok(String::new()),
    }
}
