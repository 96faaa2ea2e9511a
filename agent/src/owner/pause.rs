//! The pause: one small file that the owner's command replaces whole, so that it holds without a controller, while no
//! agent runs, and over restarts.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chandler_protocol::Timestamp;
use chandler_protocol::text::{TEXT_MAX, clean};
use serde::{Deserialize, Serialize};

/// The owner wants the computer for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// When it was said; tells one from the next.
    pub said: Timestamp,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends by itself; never when absent.
    pub until: Option<Timestamp>,
    /// Why, for those whose software has to go.
    pub reason: String,
}

impl Pause {
    /// One that cannot be read counts: whoever wrote it wanted a pause.
    fn unreadable() -> Self {
        let reason = "its pause file cannot be read".to_owned();
        Self { said: Timestamp(0), from: Timestamp(i64::MIN), until: None, reason }
    }
}

/// The pause that is in force or to come, if there is one.
pub fn read(path: &Path) -> Option<Pause> {
    match fs::read(path) {
        Ok(bytes) => {
            let pause = serde_json::from_slice(&bytes).unwrap_or_else(|_| Pause::unreadable());
            Some(Pause { reason: clean(&pause.reason, TEXT_MAX), ..pause })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(Pause::unreadable()),
    }
}

/// Begins a pause, in place of any other.
///
/// # Errors
/// It is not kept.
pub fn write(path: &Path, pause: &Pause) -> io::Result<()> {
    let temp = path.with_extension("json.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
    file.write_all(&serde_json::to_vec(pause)?)?;
    file.sync_data()?;
    fs::rename(&temp, path)
}

/// Ends the pause. Whether there was one.
///
/// # Errors
/// It is still there.
pub fn end(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_kept_replaced_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pause.json");
        assert_eq!((read(&path), end(&path).unwrap()), (None, false));
        let one = Pause { said: Timestamp(1), from: Timestamp(1), until: None, reason: "a game".into() };
        let two = Pause { until: Some(Timestamp(9)), ..one.clone() };
        for pause in [one, two] {
            write(&path, &pause).unwrap();
            assert_eq!(read(&path), Some(pause));
        }
        assert!(end(&path).unwrap());
        assert_eq!(read(&path), None);
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path).map(|p| p.from), Some(Timestamp(i64::MIN)), "what cannot be read counts as a pause");
    }
}
