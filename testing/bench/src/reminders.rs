//! How late reminders are, beside bare jobs due between them.

use std::{thread, time::Duration};

use anyhow::{Context as _, bail, ensure};

use crate::{
    bare::Bare,
    planned::Planned,
    product::Product,
    sample::{Sample, milliseconds, numbers},
};
use lab::mail::{self, Message};

/// The pace at which tasks are created and bare jobs scheduled, well before the first is due.
const PREPARE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(60);
const TITLE: &str = "bench reminder";

/// Milliseconds after the planned time.
pub(super) struct Reminders {
    pub(super) ours: Ours,
    /// Bare jobs, due halfway between two reminders.
    pub(super) bare: Sample,
    /// Bare jobs before that, on the otherwise idle run.
    pub(super) bare_alone: Option<Sample>,
}

/// The side of the product.
pub(super) struct Ours {
    /// The job's callback became `reminder.due` (`task_reminders.fired_at`).
    pub(super) fired: Sample,
    /// The mail server had accepted the message (`notification_deliveries.sent_at`).
    pub(super) sent: Sample,
    /// From the beginning of the attempt (`started_at`) to that.
    pub(super) attempt: Sample,
    /// Messages that the mail server has from before their time, by its own clock.
    pub(super) mailed_early: usize,
    /// Reminders with more than one message.
    pub(super) twice: usize,
}

impl Ours {
    /// What happened before its time.
    pub(super) fn early(&self) -> usize {
        self.fired.early() + self.sent.early() + self.mailed_early
    }
}

/// `count` reminders that become due over `spread`.
pub(super) fn measure(
    product: &Product<'_>,
    bare: &Bare,
    count: usize,
    spread: Duration,
    also_alone: bool,
) -> anyhow::Result<Reminders> {
    let postgres = &product.topology.postgres;
    let every = spread / u32::try_from(count)?;
    let preparation = PREPARE * u32::try_from(count)? + Duration::from_secs(3);
    let bare_alone = also_alone
        .then(|| bare.jobs("alone", &Planned::spread(postgres, count, preparation, every)?, PREPARE))
        .transpose()?;

    let lead = preparation + Duration::from_secs(7); // until the last one is armed
    let all = Planned::spread(postgres, count * 2, lead, every / 2)?;
    let ours: Vec<Planned> = all.iter().step_by(2).cloned().collect();
    let theirs: Vec<Planned> = all.into_iter().skip(1).step_by(2).collect();
    let bare = thread::scope(|scope| {
        let bare = scope.spawn(|| bare.jobs("beside", &theirs, PREPARE));
        arm(product, TITLE, &ours, PREPARE)?;
        wait_until_sent(product, TITLE, &ours, LIMIT)?;
        bare.join().unwrap_or_else(|_| bail!("the bare arm panicked"))
    })?;
    let ours = collect(product, TITLE, &ours)?;
    ensure!(ours.twice == 0, "{} of {count} reminders came twice", ours.twice);
    Ok(Reminders { ours, bare, bare_alone })
}

/// Creates a task with a reminder for each, one each `every`, and waits until they are armed; that must be before the first is due.
pub(super) fn arm(product: &Product<'_>, title: &str, planned: &[Planned], every: Duration) -> anyhow::Result<()> {
    client::steadily(planned.len(), every, |index| product.create(title, index, Some(&planned[index].text)))?;
    wait_until_armed(product, title, planned)
}

/// Waits until each is armed; that must be before the first is due.
pub(super) fn wait_until_armed(product: &Product<'_>, title: &str, planned: &[Planned]) -> anyhow::Result<()> {
    let first = planned.first().context("no reminders to measure")?;
    let armed = format!(
        "select count(*) from task_reminders reminder join tasks task on task.id = task_id
         where title like '{title} %' and job_id is not null"
    );
    product.wait_for("reminders armed", &armed, planned.len(), first.ahead())?;
    ensure!(!first.ahead().is_zero(), "reminders were armed only when they were due: this machine is too busy");
    Ok(())
}

/// Waits until each is recorded as accepted, until `limit` after the last one's time.
pub(super) fn wait_until_sent(
    product: &Product<'_>,
    title: &str,
    planned: &[Planned],
    limit: Duration,
) -> anyhow::Result<()> {
    let last = planned.last().context("no reminders to measure")?;
    let sent = format!(
        "select count(*) from notification_deliveries delivery join tasks task on task.id = task_id
         where title like '{title} %' and delivery.state = 'sent'"
    );
    // Not a question before: the bare side is asked none, and they would take the processor from what is measured.
    thread::sleep(last.ahead());
    product.wait_for("reminders sent", &sent, planned.len(), limit)
}

/// How late each was; and that each has a message.
pub(super) fn collect(product: &Product<'_>, title: &str, planned: &[Planned]) -> anyhow::Result<Ours> {
    let lateness = product.sql(&format!(
        "select extract(epoch from fired_at - reminder.remind_at) * 1000,
                extract(epoch from sent_at - reminder.remind_at) * 1000,
                extract(epoch from sent_at - started_at) * 1000
         from task_reminders reminder
         join notification_deliveries delivery on delivery.reminder_id = reminder.id
         join tasks task on task.id = reminder.task_id where title like '{title} %'"
    ))?;
    let lateness = numbers::<3>(&lateness)?;
    ensure!(lateness.len() == planned.len(), "{} deliveries of {} reminders", lateness.len(), planned.len());
    let (mailed, twice) = mailed(product, title, planned)?;
    Ok(Ours {
        fired: lateness.iter().map(|[fired, ..]| *fired).collect(),
        sent: lateness.iter().map(|[_, sent, _]| *sent).collect(),
        attempt: lateness.iter().map(|[.., attempt]| *attempt).collect(),
        mailed_early: mailed.early(),
        twice,
    })
}

/// When the mail server kept each message, after its planned time; and how many reminders have more than one.
fn mailed(product: &Product<'_>, title: &str, planned: &[Planned]) -> anyhow::Result<(Sample, usize)> {
    let mut messages = vec![0; planned.len()];
    let subject = format!("Reminder: {title} ");
    let mut lateness = Vec::new();
    for message in mail::messages(&product.topology.mail_dir) {
        let Some(index) = message.header("subject").and_then(|found| found.strip_prefix(&subject)?.parse().ok()) else {
            continue;
        };
        let index: usize = index;
        *messages.get_mut(index).context("a message of no reminder")? += 1;
        lateness.push(milliseconds(planned[index].at, kept(&message).context("a message without a time")?));
    }
    let none = messages.iter().filter(|count| **count == 0).count();
    ensure!(none == 0, "{none} of {} reminders have no message", planned.len());
    let twice = messages.iter().filter(|count| **count > 1).count();
    Ok((lateness.into_iter().collect(), twice))
}

/// The SMTP catcher names a file by the nanosecond.
fn kept(message: &Message) -> Option<std::time::SystemTime> {
    let nanoseconds = message.path.file_name()?.to_str()?.split('-').next()?.parse().ok()?;
    Some(std::time::SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))
}
