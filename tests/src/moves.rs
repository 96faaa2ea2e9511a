//! Moves as an operator orders them, and the front doors that users keep talking to meanwhile.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use chandler_api::movement::{Move, MovePhase, MoveRequest, MoveTo};
use chandler_harness::wait::eventually;

use crate::fleet::{Fleet, PATIENCE};

impl Fleet {
    /// The address of a service's front door on a host, once it listens there.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn door(&self, service: &str, host: &str) -> anyhow::Result<SocketAddr> {
        let what = format!("the front door of {service} on {host}");
        let address = eventually(&what, PATIENCE, || async {
            let service = self.client.service(service).await.ok()?;
            let door = service.front.iter().find(|d| d.host == host && d.connected)?;
            door.addresses.first()?.address.parse().ok()
        });
        match address.await {
            Ok(address) => Ok(address),
            Err(error) => Err(anyhow::Error::from(error).context(format!("{:#?}", self.client.service(service).await))),
        }
    }

    /// Orders a move.
    ///
    /// # Errors
    /// It is refused.
    pub async fn order_move(&self, service: &str, to: MoveTo) -> anyhow::Result<Move> {
        Ok(self.client.service_move(service, &MoveRequest { to }).await?)
    }

    /// Waits until a move has ended, however.
    ///
    /// # Errors
    /// It has not in time; the error shows how far it is.
    pub async fn ended(&self, id: &str) -> anyhow::Result<Move> {
        let found = eventually(&format!("move {id} to end"), 4 * PATIENCE, || async {
            self.client.move_by_id(id).await.ok().filter(|m| m.phase.is_final())
        });
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => {
                let now = self.client.move_by_id(id).await;
                Err(anyhow::Error::from(error).context(format!("it is {now:#?}")))
            }
        }
    }

    /// Moves a service to a host and waits until that is done.
    ///
    /// # Errors
    /// It is refused or rolled back.
    pub async fn move_to(&self, service: &str, host: &str) -> anyhow::Result<Move> {
        let ordered = self.order_move(service, MoveTo::Host(host.to_owned())).await?;
        let ended = self.ended(&ordered.id.to_string()).await?;
        if ended.phase != MovePhase::Done {
            bail!("the move of {service} to {host} is {:?}: {}\n{ended:#?}", ended.phase, ended.reason);
        }
        Ok(ended)
    }

    /// The moves of a service that ended well, oldest first.
    ///
    /// # Errors
    /// The controller does not answer.
    pub async fn moves_done(&self, service: &str) -> anyhow::Result<Vec<Move>> {
        let query = chandler_api::movement::MoveQuery { service: Some(service.to_owned()), ..Default::default() };
        let mut done: Vec<_> =
            self.client.moves(&query).await?.items.into_iter().filter(|m| m.phase == MovePhase::Done).collect();
        done.sort_by_key(|m| m.started_at);
        Ok(done)
    }

    /// Waits until a service has moved for this reason; gives the newest such move.
    ///
    /// # Errors
    /// It has not in time.
    pub async fn moved_because(&self, service: &str, trigger: &str) -> anyhow::Result<Move> {
        let found = eventually(&format!("{service} to move because of {trigger}"), PATIENCE, || async {
            self.moves_done(service).await.ok()?.into_iter().rev().find(|m| m.trigger == trigger)
        });
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => {
                let query = chandler_api::movement::MoveQuery {
                    service: Some(service.to_owned()),
                    declined: true,
                    ..Default::default()
                };
                let moves = self.client.moves(&query).await.context("listing moves")?;
                Err(anyhow::Error::from(error).context(format!("its moves: {:#?}", moves.items)))
            }
        }
    }
}

/// How long requests waited for a move: from the hold to the end of the switch, in milliseconds.
pub fn hold_ms(done: &Move) -> f64 {
    use MovePhase::{FinalCopy, Holding, Starting, Switching, Verifying};
    let held = [Holding, FinalCopy, Starting, Verifying, Switching];
    let took = done.steps.iter().filter(|s| held.contains(&s.phase)).filter_map(|s| s.took_micros);
    took.map(|t| t.0 as f64 / 1e3).sum()
}
