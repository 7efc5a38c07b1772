//! The configuration of a function, read from its environment. `docs/configuration.md` is generated from these doc comments.

use std::str::FromStr as _;

use anyhow::Context as _;
use clap::Parser;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

use crate::{db::Db, deadlines::Deadlines};

/// The configuration of every process.
#[derive(Parser, Clone, Debug)]
#[group(skip)]
pub struct HostConfig {
    /// TCP port of the HTTP server, on all interfaces.
    #[arg(long, env, default_value_t = 8080)]
    pub port: u16,
}

/// The configuration of a function with a database.
#[derive(Parser, Clone, Debug)]
#[group(skip)]
pub struct DatabaseConfig {
    /// PostgreSQL: `postgres://user:password@host[:port]/database[?sslmode=verify-full]`, directly or through a transaction pooler; `migrate` only directly.
    #[arg(long, env, hide_env_values = true)]
    pub database_url: SecretString,
    /// Maximum PostgreSQL connections (at least 3: request, relay and firing use one each).
    #[arg(long, env, default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..))]
    pub database_connections: u32,
}

/// The configuration of a function with a database and a daprd. Settings of one function are a struct like this one, beside their only user.
#[derive(Parser, Clone, Debug)]
#[command(about, long_about = None)]
pub struct Config {
    /// Those of every process.
    #[command(flatten)]
    pub host: HostConfig,
    /// Those of a function with a database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// gRPC address of this function's daprd.
    #[arg(long, env, default_value = "http://127.0.0.1:50001")]
    pub dapr_grpc_endpoint: String,
    /// gRPC address of `alarm`'s daprd, which owns the reminder jobs. Default: this function's own daprd.
    #[arg(long, env)]
    pub alarm_dapr_endpoint: Option<String>,
    /// App-id of `alarm`, for service invocation.
    #[arg(long, env, default_value = "alarm")]
    pub alarm_app_id: String,
    /// gRPC address of `reminder-due`'s daprd, which owns the retry jobs of deliveries. Default: this function's own daprd.
    #[arg(long, env)]
    pub reminder_due_dapr_endpoint: Option<String>,
    /// Token of this function's daprd and of `alarm`'s, sent with every call.
    #[arg(long, env, hide_env_values = true)]
    pub dapr_api_token: Option<SecretString>,
    /// Token of `reminder-due`'s daprd, which also reads secrets. Only `upkeep` calls it from elsewhere. Default: `DAPR_API_TOKEN`.
    #[arg(long, env, hide_env_values = true)]
    pub reminder_due_dapr_api_token: Option<SecretString>,
    /// Token that daprd must send with every event and job; other calls are refused.
    #[arg(long, env, hide_env_values = true)]
    pub app_api_token: SecretString,
    /// Name of the Dapr pub/sub component.
    #[arg(long, env, default_value = "pubsub")]
    pub pubsub_name: String,
    /// Name of the Dapr state store.
    #[arg(long, env, default_value = "statestore")]
    pub state_store: String,
    /// Name of the Dapr secret store.
    #[arg(long, env, default_value = "secrets")]
    pub secret_store: String,
}

impl Config {
    /// Where reminder jobs are scheduled.
    #[must_use]
    pub fn alarm_endpoint(&self) -> &str {
        self.alarm_dapr_endpoint.as_deref().unwrap_or(&self.dapr_grpc_endpoint)
    }

    /// Where the retry jobs of deliveries are scheduled.
    #[must_use]
    pub fn reminder_due_endpoint(&self) -> &str {
        self.reminder_due_dapr_endpoint.as_deref().unwrap_or(&self.dapr_grpc_endpoint)
    }
}

impl DatabaseConfig {
    /// The database, which connects on first use.
    ///
    /// # Errors
    /// When `DATABASE_URL` is not one.
    pub fn open(&self) -> anyhow::Result<Db> {
        let options = postgres(&self.database_url).context("DATABASE_URL")?;
        Ok(Db::lazy(options, self.database_connections, Deadlines::default()))
    }
}

/// How to connect to the database at `url`.
///
/// # Errors
/// When it is not the address of a PostgreSQL database.
pub fn postgres(url: &SecretString) -> anyhow::Result<PgConnectOptions> {
    let url = url.expose_secret();
    // sqlx takes any scheme here for PostgreSQL's, and would call on another server.
    let is_ours = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let options = PgConnectOptions::from_str(url).ok().filter(|_| is_ours);
    options.context("it is not of the form postgres://user:password@host/database")
}

/// Reads a configuration from the environment, or ends the process with one line that says what is wrong: a function with a
/// bad configuration must not bind its port.
#[must_use]
pub fn from_env<C: Parser>() -> C {
    read().unwrap_or_else(|error| error.exit())
}

/// Arguments belong to the binary (`upkeep --repair`), so that no error may advise `--help`.
fn read<C: Parser>() -> Result<C, clap::Error> {
    let command = C::command().disable_help_flag(true);
    C::from_arg_matches_mut(&mut command.try_get_matches_from(std::env::args_os().take(1))?)
}

/// Ends the process with one line if a configuration cannot be used.
pub fn or_exit<T>(checked: anyhow::Result<T>) -> T {
    checked.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        std::process::exit(2)
    })
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process::Command};

    use lab::{
        postgres::{self, Postgres},
        process::Run,
    };

    use super::*;

    #[test]
    fn fewer_than_three_connections_are_refused() {
        let with = |connections| {
            let needed = ["test", "--database-url", "postgres://host/database", "--app-api-token", "token"];
            Config::try_parse_from(needed.into_iter().chain(["--database-connections", connections]))
        };
        assert_eq!(with("3").unwrap().database.database_connections, 3);
        assert!(with("2").is_err());
    }

    #[test]
    fn an_error_advises_no_argument() {
        #[derive(Parser, Debug)]
        struct Needs {
            #[arg(long)]
            _port: u16,
        }
        let error = read::<Needs>().unwrap_err().to_string();
        assert!(error.contains("port") && !error.contains("--help"), "{error}");
    }

    /// Run by the next test, in processes with other environments.
    #[tokio::test]
    #[ignore = "needs the environment that another test gives it"]
    async fn the_database_of_the_environment_answers_over_tls() {
        let db = from_env::<Config>().database.open().unwrap();
        let query = sqlx::query_scalar("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
        let encrypted: bool = query.fetch_one(&db).await.unwrap();
        assert!(encrypted);
    }

    /// The chart mounts such a CA and names it in `PGSSLROOTCERT`.
    #[test]
    fn a_database_with_its_own_ca_is_trusted_with_this_ca_alone() {
        let run = Run { dir: lab::dev().join(format!("test-tls-{}", std::process::id())), detached: false };
        fs::create_dir_all(&run.dir).unwrap();
        let server = Postgres::launch(&run).unwrap();
        let ca = server.certify().unwrap().display().to_string();
        let connect = |host: &str, settings: &str, environment: Option<&str>| {
            let mut child = Command::new(env::current_exe().unwrap());
            child.args(["--exact", "--ignored", "config::tests::the_database_of_the_environment_answers_over_tls"]);
            child.env("DATABASE_URL", format!("postgres://postgres@{host}:{}/postgres?{settings}", server.port));
            child.env("APP_API_TOKEN", "token").env_remove("PGSSLROOTCERT");
            child.envs(environment.map(|ca| ("PGSSLROOTCERT", ca)));
            String::from_utf8(child.output().unwrap().stdout).unwrap()
        };
        let full = "sslmode=verify-full";
        for says in
            [connect("127.0.0.1", full, Some(&ca)), connect("127.0.0.1", &format!("{full}&sslrootcert={ca}"), None)]
        {
            assert!(says.contains("1 passed"), "{says}");
        }
        let says = connect("127.0.0.1", full, None);
        assert!(says.contains("UnknownIssuer"), "{says}");
        let says = connect("localhost", full, Some(&ca));
        assert!(says.contains("NotValidForName"), "another server's certificate is accepted: {says}");
        drop(server);
        postgres::wipe(&run.dir).unwrap();
        fs::remove_dir_all(run.dir).unwrap();
    }
}
