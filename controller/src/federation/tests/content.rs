//! Content on its way to a seller: brought once, whatever became of the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chandler_protocol::Digest;

use super::house::House;
use crate::federation::buyer::Talk;
use crate::store::blobs::{Blobs, MemoryShelf, Shelf};

/// Counts what is read of it.
#[derive(Default)]
struct Counting {
    shelf: MemoryShelf,
    read: Arc<AtomicU64>,
}

impl Shelf for Counting {
    fn get(&self, name: &str) -> std::io::Result<Vec<u8>> {
        let bytes = self.shelf.get(name)?;
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }
    fn put(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        self.shelf.put(name, bytes)
    }
    fn has(&self, name: &str) -> bool {
        self.shelf.has(name)
    }
}

/// Content that does not become smaller.
fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// A buyer that was started anew with this content; how much of it was read is counted.
struct Buyer<'a> {
    house: &'a House,
    blobs: Arc<Blobs>,
    read: Arc<AtomicU64>,
}

impl<'a> Buyer<'a> {
    fn of(house: &'a House, content: &[u8]) -> Self {
        let shelf = Counting::default();
        let read = shelf.read.clone();
        let blobs = Arc::new(Blobs::new(Box::new(shelf)));
        blobs.keep(content).unwrap();
        Self { house, blobs, read }
    }

    fn talk(&self) -> Talk {
        let api = &self.house.api;
        Talk::new(self.house.partner("beta").party, api.writer.clone(), self.blobs.clone(), api.federation.clone())
    }

    /// Whether the content was read to be sent, and not only what it is made of.
    fn has_read(&self, content: &[u8]) -> bool {
        self.read.swap(0, Ordering::Relaxed) >= content.len() as u64
    }
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

#[tokio::test]
async fn content_whose_answer_was_lost_costs_a_question() {
    let (alpha, gamma, beta) = (House::open().await, House::open().await, House::open().await);
    beta.befriend(&alpha, "alpha", "beta").await;
    beta.befriend(&gamma, "gamma", "beta").await;
    let large = content(3 << 20);
    let (buyer, other) = (Buyer::of(&alpha, &large), Buyer::of(&gamma, &large));
    let id = digest(&large);
    let talk = buyer.talk();
    // Whoever waits for the answer is gone as soon as all of it has arrived.
    let arrived = async {
        while !beta.api.blobs.has(id) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = arrived => {}
        done = talk.bring(id) => done.unwrap(),
    }
    assert!(buyer.has_read(&large));
    // It is noted right behind that it has arrived.
    let again = async {
        let client = alpha.api.federation.client(alpha.partner("beta").party).unwrap();
        while !client.get::<bool>(&format!("content/{id}/brought")).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), again).await.unwrap();
    buyer.talk().bring(id).await.unwrap();
    assert!(!buyer.has_read(&large), "it was sent whole again");
    // Of what another has brought nothing is said.
    other.talk().bring(id).await.unwrap();
    assert!(other.has_read(&large), "who names content has to have it");
    other.talk().bring(id).await.unwrap();
    assert!(!other.has_read(&large));
}

#[tokio::test]
async fn what_is_small_is_sent_without_a_question() {
    let (alpha, beta) = (House::open().await, House::open().await);
    beta.befriend(&alpha, "alpha", "beta").await;
    let small = content(1_000);
    let buyer = Buyer::of(&alpha, &small);
    for _ in 0..2 {
        buyer.talk().bring(digest(&small)).await.unwrap();
        assert!(buyer.has_read(&small));
    }
    assert!(beta.api.blobs.has(digest(&small)));
}
