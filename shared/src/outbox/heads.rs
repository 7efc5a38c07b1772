//! The heads: the events that go out next, at most one of each task and topic.
//!
//! They come by the index `(shard, is a reminder event, user_id, id)` of the unpublished rows. A **lane** is the part of the index with one
//! shard and one of the two kinds. In each lane a loose scan jumps from user to user, and reads the oldest events of each. A pass visits the
//! users of a lane in rounds, a few at a time. So a round reads a bounded number of rows, whatever waits, and a backlog delays its own
//! user only. The lanes of reminder events are apart, so that the backlog of other events does not delay them.
//!
//! The users of a lane form a circle. A pass begins where the pass before ended, so that passes that end early visit every user in turn.

use std::collections::{HashMap, HashSet};

use catalogue::{EventType, Topic};
use sqlx::PgConnection;
use uuid::Uuid;

use super::calls::{Calls, Head};

/// The column `shard` has this many values.
const SHARDS: i16 = 16;
/// Maximum users of a lane in a round.
const USERS: usize = 12;
/// Maximum events of a user in a lane that a round looks at. Each event that is the first of its task and topic goes out.
const SHARE: usize = 5;
/// Maximum events in a call.
pub(super) const BATCH: usize = 200;

/// Where the relay is in each lane. The relay keeps it between passes.
#[derive(Debug)]
pub(super) struct Cursors {
    lanes: Vec<Lane>,
    /// Whether a user had more events than the round that visited him looked at or sent.
    behind: bool,
    /// What the pass had published when it began this visit of all users.
    published_before: usize,
}

#[derive(Debug)]
struct Lane {
    shard: i16,
    reminder: bool,
    /// The first user of this visit of all users.
    first: Uuid,
    /// The first user of the next round.
    next: Uuid,
    /// Whether all users were visited.
    finished: bool,
}

impl Default for Cursors {
    fn default() -> Self {
        let lane = |shard, reminder| Lane { shard, reminder, first: Uuid::nil(), next: Uuid::nil(), finished: false };
        let lanes = (0..SHARDS).flat_map(|shard| [true, false].map(|reminder| lane(shard, reminder)));
        Self { lanes: lanes.collect(), behind: false, published_before: 0 }
    }
}

impl Cursors {
    /// Begins a visit of all users where the last round ended, in a pass that has published so much.
    pub(super) fn begin(&mut self, published: usize) {
        (self.behind, self.published_before) = (false, published);
        for lane in &mut self.lanes {
            (lane.first, lane.finished) = (lane.next, false);
        }
    }

    /// Whether every user was visited and none has more events that can go out. Otherwise the next round continues.
    pub(super) fn is_finished(&mut self, published: usize) -> bool {
        if self.lanes.iter().any(|lane| !lane.finished) {
            return false;
        }
        if self.behind && published > self.published_before {
            self.begin(published);
            return false;
        }
        true
    }

    /// Moves past the users that a round visited. A lane that is finished goes on, so that a pass does not overlook new events.
    fn advance(&mut self, visited: &[(i16, bool, Uuid)]) {
        for lane in &mut self.lanes {
            let mut users =
                visited.iter().filter(|(shard, reminder, _)| (lane.shard, lane.reminder) == (*shard, *reminder));
            let last = users.nth(USERS - 1);
            lane.move_to(last.map_or(Uuid::nil(), |(_, _, last)| Uuid::from_u128(last.as_u128().wrapping_add(1))));
        }
    }
}

impl Lane {
    fn move_to(&mut self, next: Uuid) {
        // From an id to itself it is the whole circle.
        let distance = |to: Uuid| to.as_u128().wrapping_sub(self.next.as_u128()).wrapping_sub(1);
        self.finished |= distance(next) >= distance(self.first);
        self.next = next;
    }
}

/// Reads the heads of the next round, without those that a failed call concerns.
pub(super) async fn read(conn: &mut PgConnection, cursors: &mut Cursors, calls: &Calls) -> sqlx::Result<Vec<Head>> {
    let (held_tasks, held_types) = calls.held_types();
    let rows = sqlx::query_file!(
        "src/outbox/heads.sql",
        &cursors.lanes.iter().map(|lane| lane.shard).collect::<Vec<_>>(),
        &cursors.lanes.iter().map(|lane| lane.reminder).collect::<Vec<_>>(),
        &cursors.lanes.iter().map(|lane| lane.next).collect::<Vec<_>>(),
        USERS as i64,
        &calls.open_types() as _,
        &held_tasks,
        &held_types as _,
        SHARE as i64,
    )
    .fetch_all(conn)
    .await?;
    let mut visited = Vec::new();
    let mut heads = Vec::new();
    let mut tasks = HashSet::new();
    for user in rows.chunk_by(|a, b| (a.shard, a.reminder, a.user_id) == (b.shard, b.reminder, b.user_id)) {
        visited.push((user[0].shard, user[0].reminder, user[0].user_id));
        cursors.behind |= user.len() == SHARE;
        for (place, row) in user.iter().enumerate() {
            let (Some(event), Some(task), Some(kind)) = (row.id, row.task_id, row.kind.as_deref()) else { continue };
            let Some(topic) = EventType::parse(kind).map(EventType::on) else { continue };
            if tasks.insert((topic, task)) {
                heads.push((place, Head { topic, task, event }));
            } else {
                cursors.behind = true;
            }
        }
    }
    cursors.advance(&visited);
    // The first event of each user, then the second of each.
    heads.sort_by_key(|(place, _)| *place);
    let mut heads: Vec<Head> = heads.into_iter().map(|(_, head)| head).collect();
    let read = heads.len();
    let mut calls = HashMap::<Topic, usize>::new();
    heads.retain(|head| {
        let events = calls.entry(head.topic).or_default();
        *events += 1;
        *events <= BATCH
    });
    cursors.behind |= heads.len() < read;
    Ok(heads)
}
