//! Where settings come from: flag, then environment, then the user's file, then the default.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::args::Globals;
use crate::problem::Failure;

/// Where a controller on this machine listens.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7480";
/// Longest token or settings file that is read.
const FILE_MAX: u64 = 64 << 10;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people; may change any time.
    #[default]
    Table,
    /// The API's own schema.
    Json,
}

/// When talk is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// When it goes to a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What decided a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// The user's settings file.
    File(PathBuf),
    /// Nothing else did.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and what decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// What decided it.
    pub origin: Origin,
}

impl<T> Setting<T> {
    const fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// Every setting.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the controller is.
    pub url: Setting<String>,
    /// The secret that signs in.
    pub token: Setting<Option<String>>,
    /// How results are printed.
    pub output: Setting<Output>,
    /// When talk is coloured.
    pub color: Setting<Color>,
    /// The user's settings file, whether it exists or not; absent without a home directory.
    pub file: Option<PathBuf>,
    /// Where the token in the user's file is for, when that is not the controller asked for.
    pub withheld_for: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("url", &self.url).field("output", &self.output).finish_non_exhaustive()
    }
}

/// The user's settings file, written by `chandler login`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserFile {
    /// Where the controller is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The secret that signs in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for UserFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserFile").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Settings {
    /// Decides every setting; `environment` gives the variables that are set and not empty.
    pub(crate) fn resolve(globals: &Globals, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let file = user_file_path(environment);
        let user = match &file {
            Some(path) => read_user_file(path)?,
            None => UserFile::default(),
        };
        let from_file = || Origin::File(file.clone().unwrap_or_default());
        let url = if let Some(url) = &globals.url {
            Setting::new(url.clone(), Origin::Flag("--url"))
        } else if let Some(url) = environment("CHANDLER_URL") {
            Setting::new(url, Origin::Environment("CHANDLER_URL"))
        } else if let Some(url) = &user.url {
            Setting::new(url.clone(), from_file())
        } else {
            Setting::new(DEFAULT_URL.to_owned(), Origin::Default)
        };
        let home = user.url.as_deref().unwrap_or(DEFAULT_URL);
        let mut withheld_for = None;
        let token = if let Some(path) = &globals.token_file {
            Setting::new(Some(read_token(path)?), Origin::Flag("--token-file"))
        } else if let Some(token) = environment("CHANDLER_TOKEN") {
            Setting::new(Some(token.trim().to_owned()), Origin::Environment("CHANDLER_TOKEN"))
        } else if user.token.is_some() && home.trim_end_matches('/') == url.value.trim_end_matches('/') {
            Setting::new(user.token, from_file())
        } else {
            // A secret for one controller is never shown to another.
            withheld_for = user.token.is_some().then(|| home.to_owned());
            Setting::new(None, Origin::Default)
        };
        Ok(Self {
            url,
            token,
            output: flag_or_default(globals.output, "--output"),
            color: color(globals.color, environment),
            file,
            withheld_for,
        })
    }
}

fn flag_or_default<T: Default>(flag: Option<T>, name: &'static str) -> Setting<T> {
    flag.map_or_else(|| Setting::new(T::default(), Origin::Default), |v| Setting::new(v, Origin::Flag(name)))
}

fn color(flag: Option<Color>, environment: &dyn Fn(&str) -> Option<String>) -> Setting<Color> {
    if flag.is_none() && environment("NO_COLOR").is_some() {
        return Setting::new(Color::Never, Origin::Environment("NO_COLOR"));
    }
    if flag.is_none() && environment("TERM").as_deref() == Some("dumb") {
        return Setting::new(Color::Never, Origin::Environment("TERM"));
    }
    flag_or_default(flag, "--color")
}

fn user_file_path(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    // Relative paths in XDG_CONFIG_HOME are to be ignored, says the standard.
    let base = environment("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let base = base.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(base.join("chandler").join("config.toml"))
}

fn read_user_file(path: &Path) -> Result<UserFile, Failure> {
    if !path.exists() {
        return Ok(UserFile::default());
    }
    let text = read_small(path)?;
    toml::from_str(&text).map_err(|e| {
        // The message would quote the line, which may hold the secret.
        Failure::local(format!("{} cannot be read: {}; make it anew: chandler login", path.display(), e.message()))
    })
}

/// The token in a file; `-` is stdin.
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::Read::take(std::io::stdin().lock(), FILE_MAX))
            .map_err(|e| Failure::local(format!("cannot read the token from stdin: {e}")))?
    } else {
        read_small(path)?
    };
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(Failure::local(format!("{} does not hold a token and nothing else", path.display())));
    }
    Ok(token.to_owned())
}

fn read_small(path: &Path) -> Result<String, Failure> {
    let cannot = |e: std::io::Error| Failure::local(format!("cannot read {}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(cannot)?;
    std::io::read_to_string(std::io::Read::take(file, FILE_MAX)).map_err(cannot)
}

/// Writes the user's file so that nobody else can read it, whole or not at all.
pub(crate) fn write_user_file(path: &Path, user: &UserFile) -> Result<(), Failure> {
    use std::io::Write as _;

    let cannot = |e: std::io::Error| Failure::local(format!("cannot write {}: {e}", path.display()));
    let text = toml::to_string(user).map_err(|e| Failure::local(format!("cannot write the settings: {e}")))?;
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(directory).map_err(cannot)?;
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)?;
    file.as_file().sync_all().map_err(cannot)?;
    file.persist(path).map_err(|e| cannot(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn globals() -> Globals {
        Globals { output: None, url: None, token_file: None, color: None }
    }

    /// The origin of url and token when these are set.
    fn origins(flag: bool, env: bool, file: bool) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "from-flag\n").unwrap();
        let mut globals = globals();
        if flag {
            globals.url = Some("http://flag:1".to_owned());
            globals.token_file = Some(secret);
        }
        if file {
            let user = UserFile { url: Some("http://file:1".to_owned()), token: Some("from-file".to_owned()) };
            write_user_file(&dir.path().join("chandler/config.toml"), &user).unwrap();
        }
        let home = dir.path().to_str().unwrap().to_owned();
        let settings = Settings::resolve(&globals, &|name| match name {
            "XDG_CONFIG_HOME" => Some(home.clone()),
            "CHANDLER_URL" if env => Some("http://env:1".to_owned()),
            "CHANDLER_TOKEN" if env => Some("from-env".to_owned()),
            _ => None,
        })
        .unwrap();
        (settings.url.value, settings.token.value.unwrap_or_default())
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let pair = |url: &str, token: &str| (url.to_owned(), token.to_owned());
        assert_eq!(origins(true, true, true), pair("http://flag:1", "from-flag"));
        assert_eq!(origins(false, true, true), pair("http://env:1", "from-env"));
        assert_eq!(origins(false, false, true), pair("http://file:1", "from-file"));
        assert_eq!(origins(false, false, false), pair(DEFAULT_URL, ""));
    }

    #[test]
    fn a_stored_token_stays_with_its_controller() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chandler/config.toml");
        let user = UserFile { url: Some("http://file:1".to_owned()), token: Some("secret".to_owned()) };
        write_user_file(&path, &user).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let home = dir.path().to_str().unwrap().to_owned();
        let elsewhere = Globals { url: Some("http://other:1".to_owned()), ..globals() };
        let settings =
            Settings::resolve(&elsewhere, &|name| (name == "XDG_CONFIG_HOME").then(|| home.clone())).unwrap();
        assert_eq!(settings.token.value, None);
        assert_eq!(settings.withheld_for.as_deref(), Some("http://file:1"));
        assert!(!format!("{settings:?} {user:?}").contains("secret"));
    }

    #[test]
    fn a_broken_settings_file_is_named_and_its_secret_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chandler/config.toml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "token = hunter2hunter2").unwrap();
        let home = dir.path().to_str().unwrap().to_owned();
        let failure = Settings::resolve(&globals(), &|name| (name == "XDG_CONFIG_HOME").then(|| home.clone()));
        let text = format!("{:?}", failure.unwrap_err());
        assert!(text.contains("config.toml") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn no_color_counts_unless_a_flag_says_otherwise() {
        let env = |name: &str| (name == "NO_COLOR").then(|| "1".to_owned());
        assert_eq!(color(None, &env).value, Color::Never);
        assert_eq!(color(Some(Color::Always), &env).value, Color::Always);
        assert_eq!(color(None, &|_| None).value, Color::Auto);
    }
}
