//! Two operators at their terminals, each with a controller: one invites, the other accepts, and later they part.

use anyhow::{Result, ensure};
use chandler_tests::cli::Person;
use chandler_tests::fleet::{ControllerOptions, Fleet};
use serde_json::json;

/// A controller that listens for partners, and its operator.
async fn house(name: &str) -> Result<(Fleet, Person)> {
    let fleet = Fleet::with(ControllerOptions { federation: true, ..ControllerOptions::default() }).await?;
    let operator = Person::new(&fleet, name, &fleet.token)?;
    Ok((fleet, operator))
}

fn accept<'a>(file: &'a str, name: &'a str) -> [&'a str; 8] {
    ["partner", "accept", "--invitation-file", file, "--name", name, "--may", "buy,sell"]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_make_their_controllers_partners_and_part_again() -> Result<()> {
    let (mut acme, ann) = house("ann").await?;
    let (nova, ben) = house("ben").await?;
    ensure!(ann.run(&["partner", "list"])?.stderr.contains("no partners yet. Next: chandler partner invite"));

    let invited = ann.run(&["partner", "invite", "nova", "--may", "buy"])?;
    ensure!(
        invited.exit == Some(0) && invited.stderr.contains("nova may buy here once it has accepted"),
        "{invited:#?}"
    );
    let file = ben.home().join("invitation.txt");
    std::fs::write(&file, &invited.stdout)?;
    let file = file.to_string_lossy().into_owned();

    // Nobody else's terminal, and nobody's own controller.
    let own = ann.home().join("invitation.txt").to_string_lossy().into_owned();
    std::fs::write(&own, &invited.stdout)?;
    let said = ann.refused(6, &accept(&own, "myself"))?;
    ensure!(said.contains("E0412") && said.contains("nobody trades with themselves"), "{said}");

    let partner = ben.json(&accept(&file, "acme-cloud"))?;
    let address = acme.federation.map(|a| a.to_string());
    ensure!(partner["state"] == "active" && partner["address"].as_str() == address.as_deref(), "{partner:#}");
    ensure!(ben.json(&accept(&file, "acme-cloud"))? == partner, "accepting again is no harm");
    let seen = ann.json(&["partner", "show", "nova"])?;
    ensure!(seen["state"] == "active" && seen["may"] == json!(["buy"]), "{seen:#}");
    let bundle = ben.json(&["partner", "bundle"])?;
    ensure!(seen["fingerprints"] == json!([bundle["fingerprint"]]), "{seen:#} {bundle:#}");

    // It lasts: another start knows the same partner, and is known as the same.
    acme.kill_controller()?;
    acme.restart_controller().await?;
    ensure!(ann.json(&["partner", "list"])?["items"][0] == seen, "the partner is not as it was before the restart");
    ensure!(ben.json(&accept(&file, "acme-cloud"))? == partner, "the restarted controller is not known as the same");

    // A new key, which the other operator pins by hand.
    let rotated = ben.run(&["partner", "rotate", "--yes"])?;
    ensure!(rotated.exit == Some(0) && rotated.stdout.contains("BEGIN CERTIFICATE"), "{rotated:#?}");
    let pem = ann.home().join("nova.pem");
    std::fs::write(&pem, &rotated.stdout)?;
    let trusted = ann.json(&["partner", "trust", "nova", "--bundle", &pem.to_string_lossy()])?;
    ensure!(trusted["fingerprints"] != seen["fingerprints"], "{trusted:#}");
    ensure!(rotated.stderr.contains(trusted["fingerprints"][0].as_str().unwrap_or("?")), "{rotated:#?}");

    // The next one is known before it is used: nobody is cut off by that rotation.
    let announced = ben.run(&["partner", "announce"])?;
    std::fs::write(&pem, &announced.stdout)?;
    let both = ann.json(&["partner", "trust", "nova", "--add", &pem.to_string_lossy()])?;
    ensure!(both["fingerprints"].as_array().is_some_and(|all| all.len() == 2), "{both:#}");
    ensure!(
        ben.run(&["partner", "rotate", "--yes"])?.stdout == announced.stdout,
        "it is not the one that was announced"
    );
    let alone = ann.json(&["partner", "trust", "nova", "--bundle", &pem.to_string_lossy()])?;
    ensure!(alone["fingerprints"][0] == both["fingerprints"][1], "{alone:#} {both:#}");

    let suspended = ann.json(&["partner", "suspend", "nova", "--reason", "bills are contested"])?;
    ensure!(suspended["state"] == "suspended" && suspended["reason"] == "bills are contested", "{suspended:#}");
    ensure!(ann.json(&["partner", "resume", "nova"])?["state"] == "active");
    let unsure = ann.refused(2, &["partner", "end", "nova"])?;
    ensure!(unsure.contains("--yes"), "{unsure}");
    ensure!(ann.json(&["partner", "end", "nova", "--yes"])?["state"] == "ended");
    let again = ben.refused(4, &accept(&file, "acme-cloud"))?;
    ensure!(again.contains("E0411") && again.contains("withdrawn"), "{again}");
    drop(nova);
    Ok(())
}
