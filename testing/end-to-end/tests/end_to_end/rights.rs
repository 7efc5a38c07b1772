//! What real daprds offer and refuse, under the configuration files of every environment.

use shared::{catalogue::FUNCTIONS, sidecar::SidecarError};
use uuid::Uuid;

use crate::product::beside_others;

/// Whether a call got past the daprd's list of allowed APIs. What it then found does not matter.
fn is_offered<T>(outcome: Result<T, SidecarError>) -> bool {
    !outcome.is_err_and(|error| error.to_string().contains("Not Implemented"))
}

#[test]
fn a_daprd_offers_only_what_its_function_needs() {
    beside_others(async |product| {
        for function in FUNCTIONS.into_iter().filter(|function| function.daprd) {
            let sidecar = product.sidecar(function.name);
            let offered = [
                ("secrets", is_offered(sidecar.secret("smtp-password").await)),
                ("state", is_offered(sidecar.state("nothing").await)),
                ("jobs", is_offered(sidecar.own_jobs.disarm("nothing").await)),
            ];
            for (api, offered) in offered {
                assert_eq!(offered, function.apis().contains(&api), "{api} at the daprd of {}", function.name);
            }
        }
    });
}

#[test]
fn the_daprd_that_reads_secrets_refuses_the_token_of_the_others() {
    beside_others(async |product| {
        let refused = |outcome: Result<_, SidecarError>| outcome.unwrap_err().to_string();
        let token = product.topology.dapr_api_token("tasks");
        let intruder = product.sidecar_as("reminder-due", token, "alarm");
        let why = [
            refused(intruder.secret("smtp-password").await.map(drop)),
            refused(intruder.state("nothing").await.map(drop)),
            refused(intruder.own_jobs.disarm("nothing").await),
        ];
        for why in why {
            assert!(why.contains("Unauthorized"), "{why}");
        }
    });
}

/// Without mTLS `alarm` cannot tell its callers apart. The chart's tests hold its access control to the rule.
#[test]
fn no_function_but_alarm_can_be_invoked() {
    beside_others(async |product| {
        let token = product.topology.dapr_api_token("tasks");
        for function in FUNCTIONS.into_iter().filter(|function| function.daprd && function.name != "tasks") {
            let outcome = product.sidecar_as("tasks", token, function.name).fire(Uuid::nil(), 1).await;
            if function.name == "alarm" {
                outcome.expect("alarm is invoked");
            } else {
                let why = outcome.unwrap_err().to_string();
                assert!(why.contains("access control policy has denied access"), "{}: {why}", function.name);
            }
        }
        let elsewhere = product.sidecar("upkeep").fire(Uuid::nil(), 1).await;
        assert!(!is_offered(elsewhere), "upkeep invokes nobody");
    });
}
