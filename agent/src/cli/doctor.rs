//! `chandler-agent doctor`: each thing the agent needs, measured, and how to mend what is missing.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::world::Clock;
use chandler_protocol::{Bytes, Micros};

use super::{Common, Settings, say, show, tell};
use crate::disk::{Disk, FileDisk};
use crate::identity::{HostKey, Identity};
use crate::platform::{Limiter, boot_id, free_space};
use crate::time::TrustedTime;
use crate::tls::{Dialling, SERVER_NAME};
use crate::world::{RealClock, RealRandom, RealSockets, Sockets};

/// A clock further off than this is worth mending.
const CLOCK_MAX: Micros = Micros::from_secs(60);
/// Less free space than this is worth a warning.
const SPACE_MIN: Bytes = Bytes(1 << 30);
/// How long the controller may take to answer.
const REACH: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
    /// Could not be found out.
    Unknown,
}

struct Finding {
    level: Level,
    what: &'static str,
    text: String,
}

fn finding(level: Level, what: &'static str, text: impl Into<String>) -> Finding {
    Finding { level, what, text: text.into() }
}

pub(super) fn doctor(common: &Common) -> ExitCode {
    let dir = match Settings::data_dir(common) {
        Ok(dir) => dir,
        Err(error) => {
            tell(&error.to_string());
            return ExitCode::from(error.exit_code());
        }
    };
    let findings = [agent(&dir), clock(&dir), data_dir(&dir), space(&dir), limits(), controller(&dir)];
    for f in &findings {
        let word = match f.level {
            Level::Ok => "ok     ",
            Level::Warn => "WARN   ",
            Level::Fail => "FAIL   ",
            Level::Unknown => "unknown",
        };
        say(&format!("{word} {:<10} {}", f.what, f.text));
    }
    if findings.iter().any(|f| f.level == Level::Fail) { ExitCode::from(3) } else { ExitCode::SUCCESS }
}

fn agent(dir: &Path) -> Finding {
    match show::current(dir) {
        Ok(status) => finding(Level::Ok, "agent", format!("runs as {}, process {}", status.host, status.pid)),
        Err(problem) => finding(Level::Warn, "agent", problem),
    }
}

fn clock(dir: &Path) -> Finding {
    let offset = crate::status::read(&dir.join(super::run::STATUS)).and_then(|s| s.link.clock_offset_micros);
    match offset {
        None => finding(Level::Unknown, "clock", "not measured: no controller has told the time yet"),
        Some(offset) => {
            let shown = format!("{}{}", if offset < 0 { "-" } else { "+" }, Micros(offset.saturating_abs()));
            if offset.saturating_abs() <= CLOCK_MAX.0 {
                finding(Level::Ok, "clock", format!("{shown} against the controller"))
            } else {
                let text = format!(
                    "{shown} against the controller, whose time is used instead; set the clock, or run an NTP client"
                );
                finding(Level::Warn, "clock", text)
            }
        }
    }
}

fn data_dir(dir: &Path) -> Finding {
    let tried = crate::disk::private_dir(dir).map_err(|e| e.to_string()).and_then(|()| {
        let disk = FileDisk::open(&dir.join("records")).map_err(|e| e.to_string())?;
        let key = format!("doctor-{}", std::process::id());
        disk.write(&key, b"x").and_then(|()| disk.remove(&key)).map_err(|e| e.to_string())
    });
    match tried {
        Ok(()) => finding(Level::Ok, "data", format!("{} can be written", dir.display())),
        Err(why) => {
            finding(Level::Fail, "data", format!("{why}; give --data-dir, or the right to write there [E0216]"))
        }
    }
}

fn space(dir: &Path) -> Finding {
    match free_space(dir) {
        Err(e) => finding(Level::Unknown, "space", format!("not measured: {e}")),
        Ok(free) if free < SPACE_MIN => {
            finding(Level::Warn, "space", format!("{free} free on {}; free some, artifacts need it", dir.display()))
        }
        Ok(free) => finding(Level::Ok, "space", format!("{free} free on {}", dir.display())),
    }
}

fn limits() -> Finding {
    let report = Limiter::detect().report();
    if report.note.is_empty() {
        finding(Level::Ok, "limits", "processor, memory and processes can be limited")
    } else {
        finding(Level::Warn, "limits", report.note)
    }
}

fn controller(dir: &Path) -> Finding {
    let what = "controller";
    let Ok(disk) = FileDisk::open(&dir.join("records")) else {
        return finding(Level::Unknown, what, "not tried: the data directory cannot be used");
    };
    let Ok(Some(identity)) = Identity::load(&disk) else {
        let text = "not tried: this computer has not joined; chandler-agent run --join STRING";
        return finding(Level::Unknown, what, text);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let reached = runtime.map_err(|e| e.to_string()).and_then(|r| r.block_on(reach(&identity, &disk)));
    match reached {
        Ok(text) => finding(Level::Ok, what, text),
        Err(why) => finding(Level::Fail, what, format!("{why}; start it, or let UDP to it through [E0211]")),
    }
}

/// Shakes hands with the first controller that answers, and says no more.
async fn reach(identity: &Identity, disk: &FileDisk) -> Result<String, String> {
    let clock = Arc::new(RealClock);
    let (key, _) = HostKey::load_or_make(disk, &RealRandom).map_err(|e| e.to_string())?;
    let time = Arc::new(TrustedTime::load(clock.clone(), boot_id(), disk));
    let dialling = Dialling::new(identity, &key, &time).map_err(|e| e.to_string())?;
    let mut last = "no controller's address is known".to_owned();
    for address in &identity.addresses {
        let start = clock.boot();
        let attempt = async {
            let endpoint = RealSockets.endpoint(*address).map_err(|e| e.to_string())?;
            let connecting = endpoint.connect_with(dialling.control.clone(), *address, SERVER_NAME);
            let connection = connecting.map_err(|e| e.to_string())?.await.map_err(|e| e.to_string())?;
            connection.close(0_u32.into(), b"doctor");
            endpoint.wait_idle().await;
            Ok::<_, String>(())
        };
        match tokio::time::timeout(REACH, attempt).await {
            Ok(Ok(())) => return Ok(format!("{address} reached in {}", Micros(clock.boot().0 - start.0))),
            Ok(Err(why)) => last = format!("{address}: {why}"),
            Err(_) => last = format!("{address}: no answer in {} s", REACH.as_secs()),
        }
    }
    Err(last)
}
