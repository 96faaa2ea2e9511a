//! Ending everything that belongs to a run, in its process group or not.

use std::path::Path;
use std::time::Duration;

use chandler_protocol::Micros;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::platform::{descendants, kill, kill_marked_now, own_children, own_reaped_cpu};

/// Rounds of ending what is left after the program, and the pause between two.
const END_ROUNDS: u32 = 500;
const END_PAUSE: Duration = Duration::from_millis(2);

/// Kills the program, everything below this supervisor, everything in the run's control groups, and everything that
/// carries its mark. More may have come meanwhile: said again until nothing is found.
pub(super) fn kill_all(program: Pid, groups: &[String], mark: &str) -> usize {
    let _ = rustix::process::kill_process_group(program, Signal::KILL);
    let below = descendants(std::process::id());
    below.iter().filter_map(|pid| i32::try_from(*pid).ok()).for_each(kill);
    below.len() + groups.iter().map(|group| kill_group(group)).sum::<usize>() + kill_marked_now(mark)
}

/// Kills what is in a control group, but for this supervisor, which still has to say what happened.
fn kill_group(group: &str) -> usize {
    let me = std::process::id().to_string();
    let inside = std::fs::read_to_string(Path::new(group).join("cgroup.procs")).unwrap_or_default();
    let others = inside.lines().filter(|pid| **pid != *me).filter_map(|pid| pid.parse().ok());
    others.inspect(|pid| kill(*pid)).count()
}

/// Kills and reaps everything that the program left behind, in its group or not. Gives the processor time of all.
/// What outlasts that is found by the agent, which looks for survivors at every end and says so.
pub(super) fn end_everything() -> Option<Micros> {
    for _ in 0..END_ROUNDS {
        while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        if own_children().is_empty() {
            break;
        }
        for pid in descendants(std::process::id()) {
            if let Ok(pid) = i32::try_from(pid) {
                kill(pid);
            }
        }
        std::thread::sleep(END_PAUSE);
    }
    own_reaped_cpu()
}

/// The same for a run whose lease is over: what does not hang under this supervisor goes, too.
pub(super) fn end_all(program: Pid, groups: &[String], mark: &str) -> Option<Micros> {
    for _ in 0..END_ROUNDS {
        while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        if kill_all(program, groups, mark) == 0 {
            break;
        }
        std::thread::sleep(END_PAUSE);
    }
    own_reaped_cpu()
}
