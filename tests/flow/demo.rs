//! The demo as somebody runs it who has just built it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_harness::process::kill_all_under;
use chandler_tests::fleet::program;
use serde_json::{Value, json};

/// Half a minute on a machine that has nothing else to do.
const LIMIT: Duration = Duration::from_secs(400);

/// All its parties come to what is promised: every kind of place, every kind of move, no failed request, nothing lost,
/// books that balance on all sides; and nothing of it is left.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_keeps_its_promises_and_leaves_nothing_behind() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let mut command = tokio::process::Command::new(program("chandler")?);
    command.args(["demo", "--json"]).env("TMPDIR", parent.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ended = tokio::time::timeout(LIMIT, command.spawn()?.wait_with_output()).await;
    // Found before it is swept, which is for the case that it is not as it should be.
    let left = processes_in(parent.path())?;
    kill_all_under(parent.path())?;
    let ended = ended.context("it takes too long")??;
    let (said, told) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    ensure!(ended.status.success(), "it ended with {}:\n{told}", ended.status);
    let last = said.lines().last().context("it printed nothing")?;
    let outcome: Value = serde_json::from_str(last).with_context(|| format!("no JSON at the end: {last}"))?;
    check(&outcome).with_context(|| format!("{told}\n{outcome:#}"))?;

    ensure!(std::fs::read_dir(parent.path())?.next().is_none(), "it left files in {}", parent.path().display());
    ensure!(left.is_empty(), "it left processes: {left:?}");
    Ok(())
}

fn check(outcome: &Value) -> Result<()> {
    ensure!(outcome["complaints"] == json!([]), "{}", outcome["complaints"]);
    ensure!(outcome["order"]["state"] == "completed" && outcome["service"]["operatingStatus"] == "running");
    ensure!(outcome["requests"]["failed"] == 0 && outcome["requests"]["total"].as_u64() > Some(200));
    ensure!(outcome["notes"]["lost"] == 0 && outcome["notes"]["acknowledged"].as_u64() > Some(20));
    ensure!(outcome["ledgerBalanced"] == true && outcome["bill"]["total"]["micros"].as_i64() > Some(0));

    let done: Vec<_> = list(outcome, "moves")?.iter().filter(|m| m["phase"] == "done").collect();
    let has = |field: &str, what: &str| done.iter().any(|m| m[field] == what);
    for kind in ["overlap", "exclusive", "failover"] {
        ensure!(has("kind", kind), "no move was {kind}");
    }
    let triggers = ["slaAmended", "predictedAvailability", "hostFailed", "price", "operator", "providerCriterion"];
    for trigger in triggers {
        ensure!(has("trigger", trigger), "nothing moved because of {trigger}");
    }
    // A machine that died is gone at once and for good, also for who only bought there.
    for gone in list(outcome, "moves")?.iter().filter(|m| m["trigger"] == "hostFailed") {
        ensure!(gone["phase"] == "done", "{gone:#}");
    }
    // Own, partner's, customer's, and a stranger's.
    for place in ["near-1", "nordic.far-1", "acme-desk", "bazaar.mara-pc"] {
        ensure!(has("to", place), "nothing moved to {place}");
    }

    let controllers = list(outcome, "controllers")?;
    ensure!(controllers.len() == 4 && controllers.iter().all(|c| c["ledgerBalanced"] == true), "{controllers:#?}");
    let settlements = list(outcome, "settlements")?;
    ensure!(settlements.len() == 3, "{settlements:#?}");
    for sale in settlements {
        let (sold, bought) = (&sale["sold"], &sale["bought"]);
        ensure!(sold["amount"]["micros"].as_i64() > Some(0) && sold["amount"] == bought["amount"], "{sale:#}");
        ensure!(sold["head"] == bought["head"] && sold["countersigned"] == sold["receipts"], "{sale:#}");
    }
    Ok(())
}

fn list<'v>(outcome: &'v Value, name: &str) -> Result<&'v Vec<Value>> {
    outcome[name].as_array().with_context(|| format!("{name} is no list"))
}

/// Processes whose working directory is under a directory: so all of the demo's are.
fn processes_in(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        if let Ok(at) = std::fs::read_link(entry.path().join("cwd"))
            && at.starts_with(directory)
        {
            found.push(format!("{} in {}", entry.file_name().display(), at.display()));
        }
    }
    Ok(found)
}
