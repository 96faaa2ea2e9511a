//! Making way for the owner of this computer, and starting again afterwards.

use chandler_protocol::state::{Failure, Phase};

use super::{Gone, Supervisor};

impl Supervisor {
    /// Ends what runs because the owner needs the computer: that is no end of its own, and its state stays.
    pub(super) async fn make_way(&mut self) -> Result<(), Gone> {
        let ended = self.end().await;
        self.shared.owner.note_yield(self.now());
        self.finish_run(&ended);
        (self.tries, self.local.retry_at) = (0, None);
        // Those who look for another place for it come before the books.
        self.show_withheld();
        self.account(&ended);
        self.save();
        Ok(())
    }

    /// Waits until the owner gives room for it, or something else is ordered.
    pub(super) async fn await_owner(&mut self) -> Result<(), Gone> {
        self.show_withheld();
        self.settle_account();
        // Its supervisor is woken as by an order when the owner allows something else.
        self.order().await
    }

    fn show_withheld(&self) {
        self.show_phase(Phase::Failed(Failure::Owner), &self.shared.owner.why());
    }
}
