//! `docs/configuration.md`, written from the clap structs of every binary. `cargo xtask manifests` writes it.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use clap::{Arg, Command, CommandFactory as _};
use lab::root;
use page::PageConfig;
use reminder_due::{email::EmailConfig, push};
use shared::{
    Config,
    auth::AuthConfig,
    config::{DatabaseConfig, HostConfig},
};
use tasks::TasksConfig;
use updates::UpdatesConfig;
use upkeep::repair;

const PAGE: &str = "docs/configuration.md";

const INTRODUCTION: &str = "<!-- Written by `cargo xtask manifests` from the code: change the doc comment of the field, then run it. -->

# Configuration

Every binary reads its configuration from environment variables when it starts. A missing or wrong value ends the process with one line that names
the variable. A change takes effect when the process restarts. *Required* means that there is no default. Secrets never appear in help texts or logs.

The Helm chart sets these from [`values.yaml`](../knative/chart/values.yaml), Docker Compose from
[`docker-compose.dev.yaml`](../compose/docker-compose.dev.yaml). Keys of mail providers and of Web Push are not variables: they are in the Dapr secret store.
`embedded`, the process of `cargo xtask up`, is every function at once and reads all sections but `door` and `migrate`.
";

/// Variables that are read without clap, and where.
const OTHERS: &[(&str, &str, &str)] = &[
    ("RUST_LOG", "`info,sqlx=warn`; `door`: `info`", "Log filter, as in `info,reminder_due=debug`."),
    ("LOG_FORMAT", "JSON lines", "`text` for people."),
    (
        "AWS_LAMBDA_RUNTIME_API",
        "not set",
        "Set by AWS Lambda. The function then serves Lambda's runtime instead of `PORT`.",
    ),
    (
        "CRASH_POINTS",
        "not set",
        "Test builds only (feature `faults`): a folder. A file in it makes the process abort at the crash point of that name.",
    ),
];

/// The folders of the product's sources.
const PRODUCT: [&str; 5] = ["functions", "knative/door/src", "migrations/src", "shared/src", "xtask/embedded/src"];

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// The row of a variable: name, default, meaning.
fn row(arg: &Arg) -> String {
    let name = arg.get_env().unwrap_or_else(|| panic!("{} has no variable", arg.get_id())).to_string_lossy();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match defaults.as_slice() {
        [] if arg.is_required_set() => "*required*".to_owned(),
        [] => "not set".to_owned(),
        values => format!("`{}`", values.join(",")),
    };
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.unwrap_or_else(|| panic!("{name} has no doc comment")).to_string();
    let mut meaning = format!("{}.", help.trim_end_matches('.'));
    for value in arg.get_possible_values() {
        if let Some(help) = value.get_help() {
            write!(meaning, " `{}`: {}.", value.get_name(), help.to_string().trim_end_matches('.')).unwrap();
        }
    }
    if arg.is_hide_env_values_set() {
        meaning += " Secret.";
    }
    format!("| `{name}` | {default} | {} |\n", cell(&meaning))
}

fn table<'a>(args: impl IntoIterator<Item = &'a Arg>) -> String {
    let variables = args.into_iter().filter(|arg| arg.get_env().is_some());
    variables.fold("| variable | default | meaning |\n|---|---|---|\n".to_owned(), |table, arg| table + &row(arg))
}

fn page() -> String {
    let (config, host, database) = (Config::command(), HostConfig::command(), DatabaseConfig::command());
    let url = database.get_arguments().filter(|arg| arg.get_env().is_some_and(|name| name == "DATABASE_URL"));
    let has = |command: &Command, arg: &Arg| command.get_arguments().any(|other| other.get_id() == arg.get_id());
    let of_dapr = config.get_arguments().filter(|arg| !has(&host, arg) && !has(&database, arg));
    let (email, push) = (EmailConfig::command(), push::PushConfig::command());
    let sections = [
        ("Every function", "Each function reads these.", table(host.get_arguments())),
        ("Functions with a database", "Every function but `page`.", { table(database.get_arguments()) }),
        ("Functions with a daprd", "Every function but `updates` and `page`.", table(of_dapr)),
        ("`tasks` and `updates`", "How tokens are checked.", table(AuthConfig::command().get_arguments())),
        (
            "`tasks`",
            "Limits of a process and of a user, devices, keys of links, and web pages.",
            table(TasksConfig::command().get_arguments()),
        ),
        (
            "`updates`",
            "How it hears of changes, and which pages may listen.",
            table(UpdatesConfig::command().get_arguments()),
        ),
        (
            "`page`",
            "Where the page finds the API, and how people sign in.",
            table(PageConfig::command().get_arguments()),
        ),
        ("`reminder-due`", "How reminders are sent.", table(email.get_arguments().chain(push.get_arguments()))),
        ("`upkeep --repair`", "When repair acts. The CronJob sets how often it runs.", {
            table(repair::Settings::command().get_arguments())
        }),
        ("`door`", "The process beside each daprd that forwards to a Knative Service.", {
            table(door::Settings::command().get_arguments())
        }),
        ("`migrate`", "Applies the migrations and exits.", table(url)),
        ("Logs and hosts", "Read by every binary but `migrate`, as far as it applies.", {
            let rows = OTHERS.iter().map(|(name, default, meaning)| format!("| `{name}` | {default} | {meaning} |\n"));
            format!("| variable | default | meaning |\n|---|---|---|\n{}", rows.collect::<String>())
        }),
    ];
    sections.iter().fold(INTRODUCTION.to_owned(), |page, (title, about, table)| {
        format!("{page}\n## {title}\n\n{about}\n\n{table}")
    })
}

/// The Rust sources of the product, tests left out.
fn sources() -> Vec<String> {
    let mut open: Vec<PathBuf> = PRODUCT.iter().map(|folder| root().join(folder)).collect();
    let mut texts = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("tests") {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            texts.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
        }
    }
    assert!(texts.len() > 20, "the sources were not found");
    texts
}

#[test]
fn the_configuration_page_is_written_from_the_code() {
    let (path, page) = (root().join(PAGE), page());
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap() == page, "{PAGE} is out of date: run `cargo xtask manifests`");
}

#[test]
fn no_variable_is_read_that_the_configuration_page_does_not_list() {
    let mut read = BTreeSet::new();
    for text in sources() {
        for call in ["env::var(\"", "env::var_os(\""] {
            read.extend(text.split(call).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    let listed = OTHERS.iter().map(|(name, ..)| *name).chain(["DATABASE_URL"]);
    assert_eq!(read, listed.map(str::to_owned).collect());
}

#[test]
fn no_struct_of_variables_is_missing_on_the_configuration_page() {
    let mut structs = Vec::new();
    for text in sources() {
        for rest in text.split("derive(Parser").skip(1) {
            structs.push(rest.split("struct ").nth(1).unwrap().split([' ', '{']).next().unwrap().to_owned());
        }
    }
    structs.sort();
    // `page` has a section with each: add yours there and here.
    let expected = [
        "AuthConfig",
        "Config",
        "DatabaseConfig",
        "EmailConfig",
        "HostConfig",
        "PageConfig",
        "PushConfig",
        "Settings",
        "Settings",
        "TasksConfig",
        "UpdatesConfig",
    ];
    assert_eq!(structs, expected);
}
