//! Daemons of the application `notes`.

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn notes(directory: &Path) -> PathBuf {
    crate::write_notes(directory).unwrap()
}

#[tokio::test]
async fn a_line_is_waited_for_and_the_child_dies_with_its_handle() {
    let dir = tempfile::tempdir().unwrap();
    let launch = Launch::new(notes(dir.path()), "notes", dir.path()).args(["--listen", "127.0.0.1:0", "--data", "d"]);
    let mut daemon = launch.spawn().unwrap();
    assert!(daemon.wait_for_line("ready http=", LONG).await.unwrap().starts_with("127.0.0.1:"));
    daemon.freeze().unwrap();
    daemon.thaw().unwrap();
    assert!(daemon.is_running());
    let id = daemon.id();
    drop(daemon);
    assert!(!Path::new(&format!("/proc/{id}")).exists());
    let mut again = launch.spawn().unwrap();
    assert!(again.stdout().ends_with("notes.2.stdout"));
    again.wait_for_line("ready ", LONG).await.unwrap();
    again.terminate().unwrap();
    assert!(!again.wait_for_end(LONG).await.unwrap().success());
    assert!(again.terminate().is_err(), "a process that has ended was signalled");
}

#[tokio::test]
async fn a_failure_shows_what_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let launch = Launch::new(notes(dir.path()), "notes", dir.path()).arg("--nonsense");
    let error = launch.spawn().unwrap().wait_for_line("ready", LONG).await.unwrap_err();
    assert!(matches!(error, ProcessError::Ended { .. }) && error.to_string().contains("--nonsense"), "{error}");
    let launch = Launch::new(dir.path().join("notes"), "sleeper", dir.path()).args(["sleep", "60"]);
    let error = launch.spawn().unwrap().wait_for_line("ready", Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, ProcessError::TooLate { .. }), "{error}");
}

#[tokio::test]
async fn a_sweep_ends_what_was_started_from_the_directory() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sleeper = |d: &Path| Launch::new(notes(d), "sleeper", d).args(["sleep", "60"]).spawn().unwrap();
    let (mut inside, mut outside) = (sleeper(dir.path()), sleeper(other.path()));
    assert_eq!(kill_all_under(dir.path()).unwrap(), 1);
    inside.wait_for_end(LONG).await.unwrap();
    assert!(outside.is_running());
}
