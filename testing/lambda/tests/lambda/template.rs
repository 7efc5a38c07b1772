//! Checks `infra/lambda/template.yaml` against the code: it lists every function, and each event source mapping delivers only
//! the type that its function handles. `infra/check.sh` runs cfn-lint on it.

use std::{collections::BTreeSet, fs};

use shared::catalogue::EventType;

fn template() -> String {
    fs::read_to_string(lab::root().join("infra/lambda/template.yaml")).expect("the template")
}

/// The lines that are indented below a line.
fn below<'a>(text: &'a str, line: &str) -> Vec<&'a str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|found| *found != line);
    assert!(lines.next().is_some(), "the template has no line `{line}`");
    lines.take_while(|found| found.trim().is_empty() || depth(found) > depth(line)).collect()
}

/// The keys directly below a line.
fn keys(text: &str, line: &str) -> Vec<String> {
    let indent = format!("{}  ", &line[..line.len() - line.trim_start().len()]);
    let direct = |found: &&str| found.strip_prefix(&indent).is_some_and(|rest| !rest.starts_with([' ', '#', '-']));
    let found = below(text, line).into_iter().filter(direct);
    found.filter_map(|found| Some(found.trim().split_once(':')?.0.to_owned())).collect()
}

/// Each function with its section of the template.
fn functions() -> Vec<(String, String)> {
    let text = template();
    let resources = below(&text, "Resources:").join("\n");
    let parts = keys(&text, "Resources:").into_iter().map(|name| below(&resources, &format!("  {name}:")).join("\n"));
    parts
        .filter(|part| part.contains("Type: AWS::Serverless::Function"))
        .map(|part| {
            let code = part.lines().find_map(|line| line.trim().strip_prefix("CodeUri: ../../target/lambda/"));
            (code.expect("where its binary is").trim_end_matches('/').to_owned(), part)
        })
        .collect()
}

/// The environment variables that the template sets for a function.
pub(crate) fn variables(function: &str) -> Vec<String> {
    let mut variables = keys(&template(), "      Variables:");
    let (_, part) =
        functions().into_iter().find(|(name, _)| name == function).expect("the function is in the template");
    if part.contains("        Variables:") {
        variables.extend(keys(&part, "        Variables:"));
    }
    variables
}

#[test]
fn every_function_is_in_the_template_or_listed_as_hosted_elsewhere() {
    let crates = fs::read_dir(lab::root().join("functions")).expect("the functions");
    let crates: BTreeSet<String> =
        crates.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    let mut named: Vec<String> = functions().into_iter().map(|(name, _)| name).collect();
    named.extend(keys(&template(), "  Elsewhere:"));
    assert_eq!(named.iter().cloned().collect::<BTreeSet<_>>(), crates);
    assert_eq!(named.len(), crates.len(), "each once: {named:?}");
}

#[test]
fn each_mapping_delivers_only_the_type_of_its_function_and_discards_nothing_unrecorded() {
    let functions = functions();
    for kind in EventType::ALL {
        let (_, part) = functions.iter().find(|(name, _)| name == kind.consumer()).expect("its function");
        for line in [
            "Type: MSK".to_owned(),
            format!("Topics: [{}]", kind.topic()),
            format!("ConsumerGroupId: {}", kind.consumer()),
            "StartingPosition: TRIM_HORIZON".to_owned(),
            format!("- Pattern: '{{\"value\":{{\"type\":[\"{}\"]}}}}'", kind.as_str()),
            "Destination: !GetAtt Discarded.Arn".to_owned(),
        ] {
            assert_eq!(
                part.lines().filter(|found| found.trim() == line).count(),
                1,
                "`{line}` once for {}",
                kind.consumer()
            );
        }
        assert_eq!(part.matches("Type: MSK").count() + part.matches("- Pattern:").count(), 2);
        assert!(!part.contains("MaximumRetryAttempts") && !part.contains("ReportBatchItemFailures"), "{part}");
    }
    let mapped = functions.iter().filter(|(_, part)| part.contains("Type: MSK"));
    assert_eq!(mapped.count(), EventType::ALL.len());
}
