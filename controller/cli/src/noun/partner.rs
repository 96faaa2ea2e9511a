//! `chandler partner`: other controllers that capacity is sold to or bought from.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use chandler_api::client::all;
use chandler_api::partner::{
    FederationIdentity, Partner as Item, PartnerAccept, PartnerInvite, PartnerTrunk, PartnerTrust, PartnerTurn, Scope,
};
use chandler_api::value::Span;
use chandler_protocol::Micros;
use chandler_protocol::text::clean;
use clap::{Args, Subcommand};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, moment};
use crate::{confirm, word};

/// Longest file that is read: a bundle or an invitation.
const FILE_MAX: u64 = 64 << 10;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler partner invite nova --may buy,sell > invitation.txt\n  chandler partner accept --invitation-file invitation.txt --name acme-cloud --may buy,sell\n  chandler partner list"
)]
pub(crate) struct Partner {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct MayArgs {
    /// What it may do here: buy, sell, or both
    #[arg(long, required = true, value_name = "SCOPES", value_delimiter = ',', value_parser = word::parser::<Scope>(&["buy", "sell"]))]
    may: Vec<Scope>,
}

#[derive(Debug, Args)]
struct TurnArgs {
    /// Its name or id
    partner: String,
    /// Why, for whoever reads the history
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an invitation; it is printed on stdout, and only now
    #[command(
        after_help = "Examples:\n  chandler partner invite nova --may buy,sell > invitation.txt\n  chandler partner invite nova --may buy --expires \"2 d\"\n\nGive it to the partner's operator by a way that nobody else reads: whoever accepts it first is the partner."
    )]
    Invite {
        /// What the partner shall be called here: 1 to 64 of a-z 0-9 . _ -
        name: String,
        #[command(flatten)]
        may: MayArgs,
        /// How long the invitation is good for, at most 30 d
        #[arg(long, default_value = "1 h", value_name = "TIME")]
        expires: Micros,
    },
    /// Accept an invitation: calls the controller that made it, and both are partners
    #[command(
        after_help = "Examples:\n  chandler partner accept --invitation-file invitation.txt --name acme-cloud --may buy,sell\n  chandler partner accept --invitation-file - --name acme-cloud --may sell < invitation.txt"
    )]
    Accept {
        /// File with the invitation; - is stdin
        #[arg(long, value_name = "FILE")]
        invitation_file: PathBuf,
        /// What the partner shall be called here: 1 to 64 of a-z 0-9 . _ -
        #[arg(long)]
        name: String,
        #[command(flatten)]
        may: MayArgs,
    },
    /// List partners
    #[command(after_help = "Examples:\n  chandler partner list -o json")]
    List,
    /// Show one partner
    #[command(after_help = "Examples:\n  chandler partner show nova")]
    Show {
        /// Its name or id
        partner: String,
    },
    /// Cut a partner off for now: what it says is not heard, and nothing is said to it
    #[command(after_help = "Examples:\n  chandler partner suspend nova --reason \"bills are contested\"")]
    Suspend(TurnArgs),
    /// Hear a suspended partner again
    #[command(after_help = "Examples:\n  chandler partner resume nova")]
    Resume(TurnArgs),
    /// End a partnership; a new one needs a new invitation
    #[command(after_help = "Examples:\n  chandler partner end nova --reason \"contract is over\" --yes")]
    End {
        #[command(flatten)]
        turn: TurnArgs,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Pin another bundle of a partner, after it has rotated its CA
    #[command(
        after_help = "Examples:\n  chandler partner trust nova --bundle nova.pem\n  chandler partner trust nova --add nova-next.pem\n\nCompare the fingerprint with its operator by a way you trust. From then on only certificates of that bundle are the partner's; with --add, those of the one before as well, until --bundle pins the new one alone."
    )]
    Trust {
        /// Its name or id
        partner: String,
        /// File with its CA certificates, as chandler partner bundle prints them there; - is stdin
        #[arg(long, value_name = "FILE", required_unless_present = "add", conflicts_with = "add")]
        bundle: Option<PathBuf>,
        /// The same, beside what is trusted already: the CA that it will rotate to
        #[arg(long, value_name = "FILE")]
        add: Option<PathBuf>,
    },
    /// Print this controller's CA certificate for partners: what they pin
    #[command(after_help = "Examples:\n  chandler partner bundle > own.pem\n  chandler partner bundle -o json")]
    Bundle,
    /// Print the CA certificate that the next rotation will use: who trusts it before is not cut off
    #[command(
        after_help = "Examples:\n  chandler partner announce > next.pem\n\nThen, at each partner: chandler partner trust NAME --add next.pem\nand when all have done so: chandler partner rotate"
    )]
    Announce,
    /// Make a new CA for partners; each is cut off until its operator has pinned the new bundle
    #[command(
        after_help = "Examples:\n  chandler partner rotate --yes > own.pem\n\nThen, at each partner: chandler partner trust NAME --bundle own.pem\nNobody is cut off who trusts it already: see chandler partner announce."
    )]
    Rotate {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Partner {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::Invite { name, may, expires } => invite(session, name, may.may, expires).await,
            Verb::Accept { invitation_file, name, may } => {
                let invitation = text_of(&invitation_file)?.trim().to_owned();
                let made = client.partner_accept(&PartnerAccept { invitation, name, may: may.may }).await?;
                show(session, &made)
            }
            Verb::List => list(session).await,
            Verb::Show { partner } => show(session, &client.partner(&partner).await?),
            Verb::Suspend(TurnArgs { partner, reason }) => {
                show(session, &client.partner_suspend(&partner, &PartnerTurn { reason }).await?)
            }
            Verb::Resume(TurnArgs { partner, reason }) => {
                show(session, &client.partner_resume(&partner, &PartnerTurn { reason }).await?)
            }
            Verb::End { turn: TurnArgs { partner, reason }, yes } => {
                let known = client.partner(&partner).await?;
                let what = format!("{} is heard no more, and nothing can be bought from or sold to it", known.name);
                confirm::name(session, &what, &known.name, "end", yes).await?;
                show(session, &client.partner_end(&partner, &PartnerTurn { reason }).await?)
            }
            Verb::Trust { partner, bundle, add } => {
                let file =
                    add.as_ref().or(bundle.as_ref()).ok_or_else(|| Failure::local("write --bundle FILE".to_owned()))?;
                let wanted = PartnerTrust { bundle: text_of(file)?, add: add.is_some() };
                show(session, &client.partner_trust(&partner, &wanted).await?)
            }
            Verb::Bundle => bundle(session, &client.federation().await?),
            Verb::Announce => {
                bundle(session, &client.federation_announce().await?)?;
                session.out.talk("Next, at each partner: chandler partner trust NAME --add FILE");
                Ok(())
            }
            Verb::Rotate { yes } => {
                let what = "every partner is cut off until its operator has pinned the new bundle";
                confirm::yes(session, what, "Make a new CA?", yes).await?;
                let made = client.federation_rotate().await?;
                bundle(session, &made)?;
                session.out.talk("Next, at each partner: chandler partner trust NAME --bundle FILE");
                Ok(())
            }
        }
    }
}

async fn invite(session: &Session, name: String, may: Vec<Scope>, expires: Micros) -> Result<(), Failure> {
    let wanted = PartnerInvite { name, may, expires: Span(expires) };
    let made = session.client()?.partner_invite(&wanted).await?;
    session.out.object(&made, || clean(&made.invitation, usize::MAX))?;
    let may = words(&made.may);
    session.out.talk(&format!("{} may {may} here once it has accepted, until {}", made.name, moment(made.expires_at)));
    session.out.talk("Next, there: chandler partner accept --invitation-file FILE --name NAME --may buy,sell");
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let items = all(|page| client.partners(page)).await?;
    let empty = "no partners yet. Next: chandler partner invite NAME --may buy,sell";
    session.out.list(&items, empty, || {
        let mut table = Table::new(&["NAME", "STATE", "MAY", "ADDRESS", "SINCE"]);
        for p in &items {
            let address = p.address.clone().unwrap_or_else(|| "-".to_owned());
            table.row([p.name.clone(), word::of(&p.state), words(&p.may), address, moment(p.since)]);
        }
        table
    })
}

fn show(session: &Session, partner: &Item) -> Result<(), Failure> {
    session.out.object(partner, || {
        let mut facts = Facts::default();
        facts.add("partner", &partner.name).add("id", partner.id.to_string());
        facts.add("state", format!("{} since {}", word::of(&partner.state), moment(partner.since)));
        facts.add("why", &partner.reason).add("may", words(&partner.may));
        facts.add("address", partner.address.as_deref().unwrap_or("it does not listen: nothing can be bought from it"));
        facts.add("trust domain", &partner.trust_domain).add("trusts", partner.fingerprints.join(", "));
        if let Some(trunk) = &partner.trunk {
            facts.add("relay", relayed(trunk));
        }
        facts.to_string()
    })
}

/// How packets between agents go over both relays.
fn relayed(trunk: &PartnerTrunk) -> String {
    let state = match (trunk.up, trunk.fits) {
        (true, true) => "joined",
        (true, false) => "joined, but the way there takes no UDP packets of 1,280 bytes",
        (false, _) => "not joined",
    };
    let PartnerTrunk { sent, received, refused, lost, .. } = trunk;
    format!("{state}; packets: {sent} sent, {received} received, {refused} refused, {lost} lost")
}

/// The bundle on stdout, so that it can go to a file; what people compare on stderr.
fn bundle(session: &Session, own: &FederationIdentity) -> Result<(), Failure> {
    session.out.object(own, || own.bundle.lines().map(|l| clean(l, usize::MAX)).collect::<Vec<_>>().join("\n"))?;
    session.out.talk(&format!("fingerprint {} of {}", own.fingerprint, own.trust_domain));
    Ok(())
}

fn words(may: &[Scope]) -> String {
    let words: Vec<String> = may.iter().map(word::of).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" and ") }
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let cannot = |e: std::io::Error| Failure::local(format!("cannot read {}: {e}", path.display()));
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(FILE_MAX).read_to_string(&mut text).map_err(cannot)?;
    } else {
        std::fs::File::open(path).map_err(cannot)?.take(FILE_MAX).read_to_string(&mut text).map_err(cannot)?;
    }
    Ok(text)
}
