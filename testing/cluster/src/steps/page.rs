//! The page in a browser. Page, API and stream are at hosts of their own; on Knative, each wakes from zero.

use anyhow::Context as _;
use chrono::{Duration, Utc};
use lab::{
    api::Method,
    browser::{Parts, Route, Visit, Visited},
    dev,
};
use serde_json::json;

use super::wake::median;
use crate::run::{ClusterTest, host};

pub(super) async fn page(test: &ClusterTest<'_>) -> anyhow::Result<()> {
    let parts = Parts::find()?;
    let title = "shown in a browser";
    // Today lists what is due, also what is overdue.
    let due = (Utc::now() - Duration::minutes(1)).to_rfc3339();
    test.command(Method::POST, "/v1/tasks", Some(json!({ "title": title, "due_at": due }))).await?;

    let mut routes = Vec::new();
    for (function, port) in test.deployment.browser_ports {
        let address = if test.arguments.plain {
            test.kube.address_of(&test.arguments.namespace, function, 80).await?
        } else {
            test.address
        };
        routes.push(Route { port, host: host(test.arguments, function), address });
    }
    let (_, port) = test.deployment.browser_ports[0];
    let link = format!("http://localhost:{port}/#token={}", test.user.token);
    let visit = Visit { link, pasted: None, title: title.to_owned(), routes };
    let results = dev().join("cluster-test/browser");
    let mut from_zero = Vec::new();
    let mut warm = Vec::new();
    for _ in 0..test.arguments.rounds {
        if !test.arguments.plain {
            test.zero().await?;
            from_zero.push(visit.make(&parts, &results).context("a visit from zero")?);
        }
        warm.push(visit.make(&parts, &results).context("a visit")?);
    }
    if !from_zero.is_empty() {
        test.say(format!("page: from zero, medians of {}: {}", from_zero.len(), medians(&from_zero)));
    }
    test.say(format!("page: warm, medians of {}: {}", warm.len(), medians(&warm)));
    Ok(())
}

fn medians(visits: &[Visited]) -> String {
    let median = |figure: fn(&Visited) -> f64| median(visits.iter().map(figure).collect());
    format!(
        "first paint {:.0} ms after the click, list {:.0} ms, stream {:.0} ms; a task of another window {:.0} ms after Enter",
        median(|visit| visit.paint),
        median(|visit| visit.list),
        median(|visit| visit.live),
        median(|visit| visit.seen),
    )
}
