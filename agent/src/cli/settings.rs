//! Settings from flags, environment and file, in that order.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chandler_protocol::join::JoinString;
use chandler_protocol::text::{NAME_MAX, clean};
use chandler_protocol::{Bytes, MilliCpu};
use serde::Deserialize;

use super::{Common, RunArgs};
use crate::AgentError;
use crate::platform::Offer;
use crate::tunnel::TunnelSettings;

/// Longest join string that is read from a file or standard input.
const JOIN_MAX: u64 = 4 << 10;
/// Largest settings file.
const FILE_MAX: u64 = 1 << 20;

/// The settings file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data_dir: Option<PathBuf>,
    join: Option<String>,
    join_file: Option<PathBuf>,
    name: Option<String>,
    offer: Option<FileOffer>,
    owner_file: Option<PathBuf>,
    tunnel: Option<FileTunnel>,
    #[serde(default)]
    program: Vec<FileProgram>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileOffer {
    cpu: Option<u32>,
    memory: Option<String>,
    disk: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileTunnel {
    listen: Option<SocketAddr>,
    offload: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileProgram {
    name: String,
    path: String,
}

/// What the agent is to do, from all sources.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) join: Option<JoinString>,
    pub(crate) name: String,
    pub(crate) offer: Offer,
    pub(crate) owner_file: Option<PathBuf>,
    pub(crate) programs: Vec<(String, String)>,
    pub(crate) tunnel: TunnelSettings,
}

impl Settings {
    pub(crate) fn load(args: &RunArgs) -> Result<Self, AgentError> {
        let file = File::load(args.common.config.as_deref())?;
        let join = match (&args.join, &args.join_file, &file.join, &file.join_file) {
            (Some(text), ..) if text == "-" => Some(from_stdin()?),
            (Some(text), ..) => Some(text.clone()),
            (None, Some(path), ..) => Some(from_file(path)?),
            (None, None, Some(text), _) => Some(text.clone()),
            (None, None, None, Some(path)) => Some(from_file(path)?),
            _ => None,
        };
        // An empty one, as from an unset variable, is none.
        let join = join.filter(|text| !text.trim().is_empty()).map(|text| text.parse::<JoinString>());
        let join = join.transpose().map_err(|e| AgentError::NotAJoinString(e.to_string()))?;
        let offer = file.offer.unwrap_or_default();
        let tunnel = file.tunnel.unwrap_or_default();
        let mut programs: Vec<(String, String)> = file.program.into_iter().map(|p| (p.name, p.path)).collect();
        for text in &args.program {
            programs.push(program(text)?);
        }
        Ok(Self {
            data_dir: data_dir(args.common.data_dir.clone().or(file.data_dir))?,
            join,
            name: args.name.clone().or(file.name).unwrap_or_else(host_name),
            offer: Offer {
                cpu: args.offer_cpu.or(offer.cpu).map(MilliCpu),
                memory: size(args.offer_memory.as_ref().or(offer.memory.as_ref()))?,
                disk: size(args.offer_disk.as_ref().or(offer.disk.as_ref()))?,
            },
            owner_file: args.owner_file.clone().or(file.owner_file).map(absolute).transpose()?,
            programs,
            tunnel: TunnelSettings {
                listen: args.tunnel.or(tunnel.listen),
                offload: tunnel.offload.unwrap_or(TunnelSettings::default().offload),
            },
        })
    }

    /// Only where things are, for commands that look at an agent.
    pub(crate) fn data_dir(common: &Common) -> Result<PathBuf, AgentError> {
        let file = File::load(common.config.as_deref())?;
        data_dir(common.data_dir.clone().or(file.data_dir))
    }
}

impl File {
    fn load(path: Option<&Path>) -> Result<Self, AgentError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = read(path, FILE_MAX)?;
        toml::from_str(&text).map_err(|e| AgentError::Setting(format!("{}: {e}", path.display())))
    }
}

fn read(path: &Path, most: u64) -> Result<String, AgentError> {
    let failed = |e: std::io::Error| AgentError::Setting(format!("{}: {e}", path.display()));
    let mut text = String::new();
    fs::File::open(path).map_err(failed)?.take(most).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn from_file(path: &Path) -> Result<String, AgentError> {
    read(path, JOIN_MAX)
}

fn from_stdin() -> Result<String, AgentError> {
    let mut text = String::new();
    let read = std::io::stdin().take(JOIN_MAX).read_to_string(&mut text);
    read.map_err(|e| AgentError::Setting(format!("standard input: {e}")))?;
    Ok(text)
}

fn program(text: &str) -> Result<(String, String), AgentError> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && path.starts_with('/') => Ok((name.to_owned(), path.to_owned())),
        _ => Err(AgentError::Setting(format!("--program {text:?}: write NAME=/ABSOLUTE/PATH"))),
    }
}

fn size(text: Option<&String>) -> Result<Option<Bytes>, AgentError> {
    text.map(|t| t.parse().map_err(|e: chandler_protocol::unit::ParseUnitError| AgentError::Setting(e.to_string())))
        .transpose()
}

fn data_dir(given: Option<PathBuf>) -> Result<PathBuf, AgentError> {
    let dir = match given {
        Some(dir) => dir,
        None if rustix::process::geteuid().is_root() => "/var/lib/chandler-agent".into(),
        None => {
            let state = std::env::var_os("XDG_STATE_HOME").filter(|d| !d.is_empty()).map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state"));
            let base =
                state.or_else(home).ok_or_else(|| AgentError::Setting("give --data-dir: no home is known".into()));
            base?.join("chandler-agent")
        }
    };
    // Programs are told paths in it and start elsewhere.
    std::path::absolute(&dir).map_err(|e| AgentError::DataDir(format!("{}: {e}", dir.display())))
}

/// A file that is watched from wherever the agent works.
fn absolute(path: PathBuf) -> Result<PathBuf, AgentError> {
    std::path::absolute(&path).map_err(|e| AgentError::Setting(format!("{}: {e}", path.display())))
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    clean(&name, NAME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, args: RunArgs) -> Result<Settings, AgentError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        fs::write(&path, file).unwrap();
        let common = Common { config: Some(path), ..args.common.clone() };
        Settings::load(&RunArgs { common, ..args })
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "data-dir = \"/a\"\nname = \"file\"\n[offer]\ncpu = 500\nmemory = \"1 GiB\"\n[[program]]\nname = \"x\"\npath = \"/x\"\n";
        let flags = RunArgs {
            name: Some("flag".into()),
            offer_cpu: Some(250),
            program: vec!["y=/y".into()],
            ..RunArgs::default()
        };
        let settings = load(file, flags).unwrap();
        assert_eq!((settings.name.as_str(), settings.data_dir.as_path()), ("flag", Path::new("/a")));
        assert_eq!(settings.offer, Offer { cpu: Some(MilliCpu(250)), memory: Some(Bytes(1 << 30)), disk: None });
        assert_eq!(settings.programs, [("x".into(), "/x".into()), ("y".into(), "/y".into())]);
    }

    #[test]
    fn where_tunnels_are_accepted_can_be_set() {
        let file = "[tunnel]\nlisten = \"10.0.0.1:7444\"\noffload = false\n";
        let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let expect = TunnelSettings { listen: at("10.0.0.1:7444"), offload: false };
        assert_eq!(load(file, RunArgs::default()).unwrap().tunnel, expect);
        let flag = RunArgs { tunnel: at("10.0.0.2:1"), ..RunArgs::default() };
        assert_eq!(load(file, flag).unwrap().tunnel, TunnelSettings { listen: at("10.0.0.2:1"), ..expect });
        assert_eq!(load("", RunArgs::default()).unwrap().tunnel, TunnelSettings::default());
    }

    #[test]
    fn mistakes_are_named() {
        for (file, flag, expect) in [
            ("nmae = \"x\"", None, "nmae"),
            ("[offer]\nmemory = \"12\"", None, "not a size"),
            ("", Some("x"), "NAME=/ABSOLUTE/PATH"),
        ] {
            let args = RunArgs { program: flag.map(str::to_owned).into_iter().collect(), ..RunArgs::default() };
            let error = load(file, args).unwrap_err();
            assert!(error.to_string().contains(expect), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
        let join = RunArgs { join: Some("chj1_nonsense".into()), ..RunArgs::default() };
        assert!(matches!(load("", join), Err(AgentError::NotAJoinString(_))));
    }
}
