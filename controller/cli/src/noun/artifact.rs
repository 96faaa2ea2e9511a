//! `chandler artifact`: published software.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chandler_api::artifact::{Artifact as Item, ArtifactPublish};
use chandler_api::client::{Content, Progress, all};
use chandler_protocol::Bytes;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, moment};

/// Archives of at least this size show how far they are.
const LARGE: u64 = 16 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler artifact publish ./notes --name notes --version 1.0.0\n  chandler artifact list"
)]
pub(crate) struct Artifact {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Publish a program or a directory; a version never changes afterwards
    #[command(
        after_help = "Examples:\n  chandler artifact publish ./notes --name notes --version 1.0.0\n  chandler artifact publish ./scripts --name scripts --version 3 --platform any"
    )]
    Publish {
        /// A file, which becomes the only entry with mode 0755, or a directory
        path: PathBuf,
        /// Its name: 1 to 64 of a-z 0-9 . _ -
        #[arg(long)]
        name: String,
        /// Its version: 1 to 64 of a-z 0-9 . _ -
        #[arg(long)]
        version: String,
        /// What it runs on, such as linux-x86_64 (default: this machine's); any for scripts and data
        #[arg(long)]
        platform: Option<String>,
    },
    /// List published software
    #[command(after_help = "Examples:\n  chandler artifact list")]
    List,
    /// Show one version
    #[command(after_help = "Examples:\n  chandler artifact show notes@1.0.0")]
    Show {
        /// NAME@VERSION
        artifact: String,
    },
}

/// The platform of this machine.
fn this_platform() -> String {
    format!("linux-{}", std::env::consts::ARCH)
}

impl Artifact {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.verb {
            Verb::Publish { path, name, version, platform } => {
                let platform = platform.unwrap_or_else(this_platform);
                publish(session, &path, name, version, platform).await
            }
            Verb::List => list(session).await,
            Verb::Show { artifact } => {
                let (name, version) = artifact
                    .split_once('@')
                    .ok_or_else(|| Failure::Usage(format!("{artifact} has no version: write NAME@VERSION")))?;
                show(session, &session.client()?.artifact(name, version).await?)
            }
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let items = all(|page| client.artifacts(page)).await?;
    session.out.list(&items, "no software yet. Next: chandler artifact publish PATH --name N --version V", || {
        let mut table = Table::new(&["ARTIFACT", "PLATFORM", ">SIZE", "PUBLISHED", "DIGEST"]);
        for a in &items {
            let digest: String = a.digest.to_string().chars().take(12).collect();
            let name = format!("{}@{}", a.name, a.version);
            table.row([name, a.platform.clone(), a.size.0.to_string(), moment(a.published_at), digest]);
        }
        table
    })
}

async fn publish(
    session: &Session,
    path: &Path,
    name: String,
    version: String,
    platform: String,
) -> Result<(), Failure> {
    let client = session.client()?;
    session.out.talk(&format!("packing    {}", path.display()));
    let what = path.to_path_buf();
    let packed = tokio::task::spawn_blocking(move || crate::pack::pack(&what))
        .await
        .map_err(|e| Failure::local(format!("cannot pack: {e}")))?
        .map_err(|e| Failure::local(e.to_string()))?;
    let entries = if packed.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", packed.entries) };
    session.out.talk(&format!("packed     {entries}, {}, {}", Bytes(packed.length), packed.digest));
    let bar = progress(packed.length);
    let tell: Option<Progress> = bar.clone().map(|bar| -> Progress { Arc::new(move |sent| bar.set_position(sent)) });
    let what = ArtifactPublish { name, version, platform, digest: packed.digest };
    let content = Content::File { path: packed.path().to_path_buf(), progress: tell };
    let result = client.artifact_publish(&what, content).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let made = result?;
    session.out.talk(&format!("published  {}@{}", made.name, made.version));
    show(session, &made)
}

/// A bar for large archives. Off a terminal, indicatif draws nothing.
fn progress(length: u64) -> Option<ProgressBar> {
    if length < LARGE {
        return None;
    }
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("sending    {bar:30} {binary_bytes} of {binary_total_bytes}, {eta} left");
    Some(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
}

fn show(session: &Session, artifact: &Item) -> Result<(), Failure> {
    session.out.object(artifact, || {
        let mut facts = Facts::default();
        facts
            .add("artifact", format!("{}@{}", artifact.name, artifact.version))
            .add("platform", &artifact.platform)
            .add("size", artifact.size.0.to_string())
            .add("digest", artifact.digest.to_string())
            .add("published", moment(artifact.published_at));
        facts.to_string()
    })
}
