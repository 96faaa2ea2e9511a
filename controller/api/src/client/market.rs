//! Calls about the market.

use reqwest::Method;

use super::{Client, ClientError, Tagged};
use crate::market::{
    DemandLine, DemandRecord, Lease, LeaseQuery, Market, Offer, OfferChange, OfferPost, OfferQuery, Standing,
};
use crate::page::{Page, PageQuery};

#[expect(clippy::missing_errors_doc, reason = "every method fails in the same ways, told by ClientError")]
impl Client {
    /// This controller's market.
    pub async fn market(&self) -> Result<Market, ClientError> {
        self.get(&["market"]).await
    }
    /// Lists offers.
    pub async fn offers(&self, query: &OfferQuery) -> Result<Page<Offer>, ClientError> {
        self.list(&["market", "offers"], query).await
    }
    /// Offers a site's machines.
    pub async fn offer_post(&self, offer: &OfferPost) -> Result<Offer, ClientError> {
        self.post(&["market", "offers"], offer).await
    }
    /// An offer by its id, or by the name of its site.
    pub async fn offer(&self, reference: &str) -> Result<Tagged<Offer>, ClientError> {
        self.tagged(&["market", "offers", reference]).await
    }
    /// Changes an offer, if it is still as it was read.
    pub async fn offer_change(&self, reference: &str, change: &OfferChange, etag: &str) -> Result<Offer, ClientError> {
        let call = self.call(Method::PATCH, &["market", "offers", reference])?;
        self.transport().fetch(&call.if_match(etag)?.json(change)?).await
    }
    /// Lists demands that were cleared, newest first.
    pub async fn demands(&self, page: PageQuery) -> Result<Page<DemandLine>, ClientError> {
        self.list(&["market", "demands"], &page).await
    }
    /// The record of the clearing of a demand.
    pub async fn demand(&self, id: &str) -> Result<DemandRecord, ClientError> {
        self.get(&["market", "demands", id]).await
    }
    /// Lists capacity that was sold to or bought from partners.
    pub async fn leases(&self, query: &LeaseQuery) -> Result<Page<Lease>, ClientError> {
        self.list(&["market", "leases"], query).await
    }
    /// What has to be expected of a site as a seller.
    pub async fn standing(&self, site: &str) -> Result<Standing, ClientError> {
        self.get(&["market", "standing", site]).await
    }
}
