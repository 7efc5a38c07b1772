//! Runs the procedures of `docs/operations.md` exactly as written. The operator's tools are real, except `kubectl` and `cargo`:
//! stand-ins do locally what those would do.

use std::{env, fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, path::Path};

use lab::{dev, kafka, progress::quietly, root};

use crate::product::RunningProduct;

/// The counts that repair logs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repaired {
    pub(crate) events: u64,
    pub(crate) reminders: u64,
    pub(crate) deliveries: u64,
}

/// The only code block that contains this text, without its placeholder lines (…): the caller passes those variables.
pub(crate) fn block(text: &str) -> String {
    let page = fs::read_to_string(root().join("docs/operations.md")).expect("the page is there");
    let blocks = page.split("```").skip(1).step_by(2).filter(|block| block.contains(text));
    let [block] = &blocks.collect::<Vec<_>>()[..] else {
        panic!("docs/operations.md does not have exactly one block with {text:?}")
    };
    let (_, lines) = block.split_once('\n').expect("a fence names its language");
    lines.lines().filter(|line| !line.contains('…')).map(|line| format!("{line}\n")).collect()
}

impl RunningProduct {
    /// Runs a shell script as an operator would and returns its output.
    pub(crate) async fn by_hand(&self, script: &str, variables: &[(&str, &str)]) -> anyhow::Result<String> {
        let dir = dev().join(&self.topology.options.name).join("by-hand");
        fs::create_dir_all(dir.join("bin"))?;
        self.stand_ins(&dir.join("bin"))?;
        let path = [dir.join("bin"), self.topology.postgres.programs().to_path_buf()];
        let path = env::join_paths(path.into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())))?;
        let mut bash = std::process::Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(dir).env("PATH", path);
        bash.env("ADMIN", self.topology.postgres.url("postgres")).env("DATABASE_URL", &self.topology.database_url);
        bash.envs(self.topology.kafka_brokers().map(|brokers| ("BROKERS", brokers))).envs(variables.iter().copied());
        tokio::task::spawn_blocking(move || quietly(&mut bash)).await?
    }

    /// Runs repair once, as the page says.
    pub(crate) async fn repair_now(&self) -> Repaired {
        self.repaired(&block("logs job/repair-now")).await
    }

    /// Runs a script and reads the counts of the last repair in its output.
    pub(crate) async fn repaired(&self, script: &str) -> Repaired {
        let said = self.by_hand(script, &[]).await.unwrap_or_else(|error| panic!("{error:#}"));
        let line = said.lines().rfind(|line| line.contains("upkeep: repaired")).unwrap_or_else(|| panic!("{said:?}"));
        let number = |name: &str| {
            let found =
                line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
            found.unwrap_or_else(|| panic!("{name} is not in {line:?}"))
        };
        Repaired { events: number("events"), reminders: number("reminders"), deliveries: number("deliveries") }
    }

    fn stand_ins(&self, dir: &Path) -> anyhow::Result<()> {
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"));
        let repair = self.topology.repair_now()?;
        let mut job = String::new();
        for (name, value) in repair.get_envs() {
            writeln!(job, "export {}={}", name.to_string_lossy(), quoted(value.unwrap_or_default()))?;
        }
        // `kubectl create job` succeeds even if the job later fails.
        writeln!(job, "{} --repair >repair.log 2>&1 || true", quoted(repair.get_program()))?;
        let kubectl = format!(
            "case \"$*\" in\n'create job --from=cronjob/repair repair-now')\n{job};;\n\
             'delete job repair-now --ignore-not-found' | 'wait --for=condition=complete job/repair-now --timeout=10m') ;;\n\
             'logs job/repair-now') exec cat repair.log;;\n\
             *) echo \"no stand-in for: kubectl $*\" >&2; exit 1;;\nesac\n"
        );
        let migrate = self.topology.options.bin_dir.join("migrate");
        let cargo = format!("[ \"$*\" = 'run --package migrations' ] && exec {}\n", quoted(migrate.as_os_str()));
        for (name, script) in [("kubectl", kubectl), ("cargo", cargo)] {
            fs::write(dir.join(name), format!("#!/bin/sh\n{script}"))?;
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755))?;
        }
        kafka::operators_tools(dir)
    }
}
