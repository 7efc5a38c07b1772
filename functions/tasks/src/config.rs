//! The settings of this function. `docs/configuration.md` is generated from these doc comments.

use clap::Parser;
use shared::{capability::CapabilityConfig, cors::CorsConfig};

use crate::{LimitsConfig, PushConfig};

/// The settings besides those of authentication.
#[derive(Parser, Clone, Debug)]
#[command(about, long_about = None)]
pub struct TasksConfig {
    /// The limits of a process and of a user.
    #[command(flatten)]
    pub limits: LimitsConfig,
    /// The devices that may subscribe.
    #[command(flatten)]
    pub push: PushConfig,
    /// The keys of capabilities.
    #[command(flatten)]
    pub capabilities: CapabilityConfig,
    /// The web pages that may call the API.
    #[command(flatten)]
    pub cors: CorsConfig,
    /// The size at which an export ends early, for a host that limits the size of answers.
    #[arg(skip)]
    pub export_bytes: Option<usize>,
}

impl Default for TasksConfig {
    fn default() -> Self {
        Self::parse_from(["tasks"])
    }
}
