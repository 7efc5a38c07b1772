//! The catalogue: every function, every event type and every topic of Punctual.
//!
//! The product and its tests read these tables. `cargo xtask manifests` writes every other list from them:
//! subscriptions, scopes, topics, images and services. The crate has no dependencies, so that the generator compiles in seconds.
//!
//! A new event type is one row of [`EventType`], and brings its function. Any other function is a row of `OTHERS`.

/// The app-id of the process that hosts all functions behind one daprd: `cargo xtask up`.
pub const EMBEDDED: &str = "punctual";

/// The only function that others invoke. Those whose daprd offers `invoke` may do so.
pub const INVOKED: &str = "alarm";

/// The function that arms lost jobs of other functions, at their daprds.
pub const REPAIRS: &str = "upkeep";

/// Concurrent calls that a daprd makes into a function on a developer's machine: one per database connection.
pub const CALLS: u32 = 10;

/// The same for a function that Dapr jobs call in bursts. `alarm` batches concurrent callbacks (`functions/alarm/src/fire/together.rs`), so
/// in a burst this limit would be the bottleneck.
const CALLBACKS: u32 = 100;

/// A topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Its name on the broker.
    pub name: &'static str,
    /// Its partitions: the maximum number of events that one function handles at a time.
    pub partitions: u16,
}

const REMINDERS: Topic = Topic { name: "reminders", partitions: 12 };
const TASK_EVENTS: Topic = Topic { name: "task-events", partitions: 6 };
const TASK_UPDATES: Topic = Topic { name: "task-updates", partitions: 6 };

/// Every topic for events, in the order in which the relay publishes: due reminders first.
pub const TOPICS: [Topic; 3] = [REMINDERS, TASK_EVENTS, TASK_UPDATES];

/// Every topic that the broker needs, dead-letter topics included, with its partitions.
#[must_use]
pub fn topics() -> Vec<(String, u16)> {
    let events = TOPICS.iter().map(|topic| (topic.name.to_owned(), topic.partitions));
    events.chain(EventType::ALL.map(|kind| (kind.dead_letter_topic(), 1))).collect()
}

impl Topic {
    /// The types of its events.
    pub fn event_types(self) -> impl Iterator<Item = EventType> {
        EventType::ALL.into_iter().filter(move |kind| kind.on() == self)
    }

    /// The partition of the events with this key, as Dapr's Kafka component chooses it (sarama's `NewHashPartitioner`: FNV-1a). It is another
    /// one if the topic has another number of partitions.
    #[must_use]
    pub fn partition_of(self, key: &str) -> u16 {
        let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        (hash.cast_signed() % i32::from(self.partitions)).unsigned_abs() as u16
    }

    /// The topic for events of this topic that the daprd of `consumer` could not deliver.
    #[must_use]
    pub fn dead_letter_topic(self, consumer: &str) -> String {
        format!("{}.dlq.{consumer}", self.name)
    }
}

macro_rules! event_types {
    ($(#[doc = $about:literal] $variant:ident: $name:literal, $topic:ident, $function:literal;)+) => {
        /// The types of events. Each has one topic and one function that handles it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventType {
            $(#[doc = $about] $variant,)+
        }

        impl EventType {
            /// Every event type.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The CloudEvents `type`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What happened, in one sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about.trim_ascii(),)+ }
            }

            /// The topic on which it is published.
            #[must_use]
            pub const fn on(self) -> Topic {
                match self { $(Self::$variant => $topic,)+ }
            }

            /// The function that handles it: crate, app-id, consumer group and `processed_events.consumer`.
            #[must_use]
            pub const fn consumer(self) -> &'static str {
                match self { $(Self::$variant => $function,)+ }
            }
        }
    };
}

event_types! {
    /// A task was created.
    TaskCreated: "task.created", TASK_EVENTS, "task-created";
    /// A task or one of its reminders was changed.
    TaskUpdated: "task.updated", TASK_EVENTS, "task-updated";
    /// A task was completed.
    TaskCompleted: "task.completed", TASK_EVENTS, "task-completed";
    /// A task was deleted.
    TaskDeleted: "task.deleted", TASK_EVENTS, "task-deleted";
    /// A reminder is due.
    ReminderDue: "reminder.due", REMINDERS, "reminder-due";
    /// A provider accepted a reminder.
    ReminderSent: "reminder.sent", REMINDERS, "reminder-sent";
    /// Something that clients show has changed.
    TaskChanged: "task.changed", TASK_UPDATES, "task-changed";
}

impl EventType {
    /// The event type with this CloudEvents `type`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The name of its topic.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        self.on().name
    }

    /// The topic for events of this type that daprd could not deliver.
    #[must_use]
    pub fn dead_letter_topic(self) -> String {
        self.on().dead_letter_topic(self.consumer())
    }

    const fn function(self) -> Function {
        // For one release `reminder-due` also gets the reminder jobs that the release before `alarm` armed.
        let calls = if matches!(self, Self::ReminderDue) { CALLBACKS } else { CALLS };
        let (name, trigger) = (self.consumer(), Trigger::Event(self));
        Function { name, trigger, daprd: true, database: true, public: None, calls }
    }
}

/// What makes a function run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// HTTP requests of clients.
    Http,
    /// Events of one type.
    Event(EventType),
    /// Messages of every dead-letter topic.
    DeadLetters,
    /// Callbacks of Dapr jobs. `alarm` also takes `send-now` from `tasks`, by service invocation.
    Job,
}

/// A function: a crate in `functions/`, a binary, an image and a Knative Service, all with one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The name.
    pub name: &'static str,
    /// What makes it run.
    pub trigger: Trigger,
    /// Whether it has a daprd, with the function's name as app-id.
    pub daprd: bool,
    /// Whether it connects to PostgreSQL.
    pub database: bool,
    /// How clients outside the cluster reach it, if they do. A public function with a database authenticates its users.
    pub public: Option<Public>,
    /// Concurrent calls that its daprd makes into it on a developer's machine.
    pub calls: u32,
}

/// The addresses of a public function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Public {
    /// Its host, where each public function has one: `ingress.hosts` of the chart.
    pub host: &'static str,
    /// The prefixes of its paths, where all public functions share a host. The longest prefix of a path decides.
    pub paths: &'static [&'static str],
}

const API: Public = Public { host: "api", paths: &["/v1", "/openapi.json"] };
const LIVE: Public = Public { host: "live", paths: &["/v1/updates"] };
const PAGE: Public = Public { host: "page", paths: &["/"] };

/// The functions that no event type triggers.
#[rustfmt::skip]
const OTHERS: &[Function] = &[
    Function { name: "tasks",        trigger: Trigger::Http,        daprd: true,  database: true,  public: Some(API),  calls: CALLS },
    Function { name: "updates",      trigger: Trigger::Http,        daprd: false, database: true,  public: Some(LIVE), calls: CALLS },
    Function { name: "page",         trigger: Trigger::Http,        daprd: false, database: false, public: Some(PAGE), calls: CALLS },
    Function { name: "dead-letters", trigger: Trigger::DeadLetters, daprd: true,  database: true,  public: None,       calls: CALLS },
    Function { name: INVOKED,        trigger: Trigger::Job,         daprd: true,  database: true,  public: None,       calls: CALLBACKS },
    Function { name: REPAIRS,        trigger: Trigger::Job,         daprd: true,  database: true,  public: None,       calls: CALLS },
];

/// Every function: those of `OTHERS`, then one per event type.
pub const FUNCTIONS: [Function; OTHERS.len() + EventType::ALL.len()] = {
    let mut functions = [OTHERS[0]; OTHERS.len() + EventType::ALL.len()];
    let mut index = 1;
    while index < functions.len() {
        functions[index] = match index.checked_sub(OTHERS.len()) {
            Some(event) => EventType::ALL[event].function(),
            None => OTHERS[index],
        };
        index += 1;
    }
    functions
};

impl Function {
    /// The function with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FUNCTIONS.into_iter().find(|function| function.name == name)
    }

    /// Whether it checks the tokens of users.
    #[must_use]
    pub const fn authenticates(self) -> bool {
        self.public.is_some() && self.database
    }

    /// The Dapr APIs that its daprd offers to it and to the functions that schedule its jobs.
    #[must_use]
    pub fn apis(self) -> Vec<&'static str> {
        if !self.daprd {
            return Vec::new();
        }
        let more: &[&str] = match self.trigger {
            Trigger::Http => &["invoke"],
            Trigger::Job => &["jobs"],
            // The key of the mail provider, when to call it again, and retries. It invokes `alarm` for one release.
            Trigger::Event(EventType::ReminderDue) => &["jobs", "state", "secrets", "invoke"],
            Trigger::Event(_) | Trigger::DeadLetters => &[],
        };
        [&["publish"], more].concat()
    }

    /// Whether its daprd offers this API.
    #[must_use]
    pub fn offers(self, api: &str) -> bool {
        self.apis().contains(&api)
    }

    /// The topics to which its daprd subscribes.
    #[must_use]
    pub fn subscriptions(self) -> Vec<String> {
        match self.trigger {
            Trigger::Event(kind) => vec![kind.topic().to_owned()],
            Trigger::DeadLetters => EventType::ALL.map(EventType::dead_letter_topic).into(),
            Trigger::Http | Trigger::Job => Vec::new(),
        }
    }

    /// The topics to which its daprd publishes. The relay of any function publishes every unpublished event, whatever its type.
    #[must_use]
    pub fn publications(self) -> Vec<String> {
        let events = TOPICS.iter().map(|topic| topic.name.to_owned());
        let dead_letters = match self.trigger {
            Trigger::Event(kind) => Some(kind.dead_letter_topic()),
            Trigger::Http | Trigger::DeadLetters | Trigger::Job => None,
        };
        events.chain(dead_letters).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_type_is_found_by_its_name() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.as_str()), Some(kind));
            assert_eq!(kind.consumer(), kind.as_str().replace('.', "-"));
        }
    }

    #[test]
    fn every_event_type_has_one_topic_and_one_function() {
        let on_topics: Vec<EventType> = TOPICS.into_iter().flat_map(Topic::event_types).collect();
        assert_eq!(on_topics.len(), EventType::ALL.len());
        for kind in EventType::ALL {
            assert!(on_topics.contains(&kind));
            assert_eq!(Function::named(kind.consumer()).unwrap().trigger, Trigger::Event(kind));
        }
    }

    #[test]
    fn no_two_functions_have_one_name() {
        let names: BTreeSet<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
        assert_eq!(names.len(), FUNCTIONS.len());
    }

    #[test]
    fn secrets_are_offered_by_one_daprd_alone_and_not_to_a_public_function() {
        for api in ["secrets", "state"] {
            let offering = FUNCTIONS.into_iter().filter(|function| function.offers(api));
            let offering: Vec<_> = offering.map(|function| (function.name, function.public)).collect();
            assert_eq!(offering, [("reminder-due", None)], "{api}");
        }
    }

    #[test]
    fn a_function_without_daprd_is_triggered_by_http() {
        assert!(FUNCTIONS.iter().all(|function| function.daprd || function.trigger == Trigger::Http));
    }
}
