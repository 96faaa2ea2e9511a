//! Installed packages, from the package manager's own files: no program is run and no lock is taken.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use chandler_protocol::inventory::{InstalledSoftware, PACKAGES_MAX};
use chandler_protocol::text::{NAME_MAX, clean, is_inner_path};

/// Most programs that are listed of one package.
const PROGRAMS_MAX: usize = 64;
/// Most programs that are listed in all: at 32 bytes each they take 1 MiB of a message of 4.
const PROGRAMS_TOTAL_MAX: usize = 32_768;
/// Longest path of a program that is listed.
const PATH_MAX: usize = 256;
/// Where programs stand.
const PROGRAM_DIRS: [&str; 6] = ["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/", "/usr/local/bin/", "/usr/games/"];

/// Packages of `dpkg`, with their programs. `root` is `/` but in tests.
pub(super) fn dpkg(root: &Path) -> Vec<InstalledSoftware> {
    let Ok(status) = File::open(root.join("var/lib/dpkg/status")) else { return Vec::new() };
    let mut found = Vec::new();
    let mut package = Stanza::default();
    let mut programs = 0;
    // The file is read line by line: it is megabytes on a desktop and only three fields matter.
    for line in BufReader::new(status).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            programs += package.finish(root, &mut found, PROGRAMS_TOTAL_MAX - programs);
        } else if let Some(name) = line.strip_prefix("Package: ") {
            package.name = name.to_owned();
        } else if let Some(version) = line.strip_prefix("Version: ") {
            package.version = version.to_owned();
        } else if let Some(architecture) = line.strip_prefix("Architecture: ") {
            package.architecture = architecture.to_owned();
        } else if let Some(status) = line.strip_prefix("Status: ") {
            package.installed = status.ends_with(" installed");
        }
        if found.len() >= PACKAGES_MAX {
            return found;
        }
    }
    package.finish(root, &mut found, PROGRAMS_TOTAL_MAX - programs);
    found
}

#[derive(Debug, Default)]
struct Stanza {
    name: String,
    version: String,
    architecture: String,
    installed: bool,
}

impl Stanza {
    /// Adds the package, if it is one, and makes room for the next. Gives how many programs were listed.
    fn finish(&mut self, root: &Path, found: &mut Vec<InstalledSoftware>, room: usize) -> usize {
        let stanza = std::mem::take(self);
        // The name becomes part of a path.
        if !stanza.installed || !is_inner_path(&stanza.name) || stanza.name.contains('/') {
            return 0;
        }
        let mut programs = programs(root, &stanza);
        programs.truncate(room);
        let count = programs.len();
        found.push(InstalledSoftware {
            name: clean(&stanza.name, NAME_MAX),
            version: clean(&stanza.version, NAME_MAX),
            programs,
        });
        count
    }
}

fn programs(root: &Path, stanza: &Stanza) -> Vec<String> {
    let info = root.join("var/lib/dpkg/info");
    let names =
        [format!("{}.list", stanza.name), format!("{}:{}.list", stanza.name, clean(&stanza.architecture, NAME_MAX))];
    let Some(list) = names.iter().find_map(|n| fs::read(info.join(n)).ok()) else { return Vec::new() };
    String::from_utf8_lossy(&list)
        .lines()
        .filter(|path| PROGRAM_DIRS.iter().any(|dir| path.strip_prefix(dir).is_some_and(|name| !name.contains('/'))))
        .filter(|path| path.len() <= PATH_MAX)
        .map(|path| clean(path, PATH_MAX))
        .take(PROGRAMS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_their_programs_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let info = dir.path().join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        let status = "Package: redis\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5:7.0\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: ../evil\nStatus: install ok installed\nVersion: 1\n\n\
                      Package: last\x1b[31m\nStatus: install ok installed\nVersion: 2";
        fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
        fs::write(info.join("redis:amd64.list"), "/.\n/usr/bin\n/usr/bin/redis-server\n/usr/share/x\n/sbin/redis-x\n")
            .unwrap();
        let found = dpkg(dir.path());
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("redis", "5:7.0"));
        assert_eq!(found[0].programs, ["/usr/bin/redis-server", "/sbin/redis-x"]);
        assert_eq!(found[1].name, "last[31m");
        assert!(dpkg(Path::new("/nowhere")).is_empty());
    }
}
