//! Calls about partners.

use reqwest::Method;

use super::{Client, ClientError};
use crate::page::{Page, PageQuery};
use crate::partner::{
    FederationIdentity, Partner, PartnerAccept, PartnerInvite, PartnerInvited, PartnerTrust, PartnerTurn,
};

#[expect(clippy::missing_errors_doc, reason = "every method fails in the same ways, told by ClientError")]
impl Client {
    /// Lists partners.
    pub async fn partners(&self, page: PageQuery) -> Result<Page<Partner>, ClientError> {
        self.list(&["partners"], &page).await
    }
    /// A partner by name or id.
    pub async fn partner(&self, reference: &str) -> Result<Partner, ClientError> {
        self.get(&["partners", reference]).await
    }
    /// Makes an invitation.
    pub async fn partner_invite(&self, invite: &PartnerInvite) -> Result<PartnerInvited, ClientError> {
        self.post(&["partners", "invitations"], invite).await
    }
    /// Accepts an invitation.
    pub async fn partner_accept(&self, accept: &PartnerAccept) -> Result<Partner, ClientError> {
        self.post(&["partners", "accept"], accept).await
    }
    /// Cuts a partner off for now.
    pub async fn partner_suspend(&self, reference: &str, turn: &PartnerTurn) -> Result<Partner, ClientError> {
        self.post(&["partners", reference, "suspend"], turn).await
    }
    /// Hears a suspended partner again.
    pub async fn partner_resume(&self, reference: &str, turn: &PartnerTurn) -> Result<Partner, ClientError> {
        self.post(&["partners", reference, "resume"], turn).await
    }
    /// Ends a partnership.
    pub async fn partner_end(&self, reference: &str, turn: &PartnerTurn) -> Result<Partner, ClientError> {
        self.post(&["partners", reference, "end"], turn).await
    }
    /// Pins another bundle of a partner.
    pub async fn partner_trust(&self, reference: &str, trust: &PartnerTrust) -> Result<Partner, ClientError> {
        let call = self.call(Method::PUT, &["partners", reference, "trust"])?;
        self.transport().fetch(&call.json(trust)?).await
    }
    /// What this controller shows to its partners.
    pub async fn federation(&self) -> Result<FederationIdentity, ClientError> {
        self.get(&["federation"]).await
    }
    /// The CA for partners that the next rotation will use.
    pub async fn federation_announce(&self) -> Result<FederationIdentity, ClientError> {
        self.act(&["federation", "announce"]).await
    }
    /// Makes a new CA for partners.
    pub async fn federation_rotate(&self) -> Result<FederationIdentity, ClientError> {
        self.act(&["federation", "rotate"]).await
    }
}
