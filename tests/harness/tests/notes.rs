//! The application `notes` as its users see it: over sockets, and across a kill.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chandler_harness::process::{Daemon, Launch};
use chandler_harness::write_notes;

const LONG: Duration = Duration::from_secs(20);

async fn start(directory: &Path) -> (Daemon, Client) {
    let program = write_notes(&directory.join("bin")).unwrap();
    let launch = Launch::new(program, "notes", directory).args(["--listen", "127.0.0.1:0", "--data", "state/data"]);
    let mut daemon = launch.spawn().unwrap();
    let address = daemon.wait_for_line("ready http=", LONG).await.unwrap();
    (daemon, Client::connect(&address))
}

/// One connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Status and body of the next answer.
    fn answer(&mut self) -> (u16, String) {
        let mut line = || {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            let header = line();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    fn get(&mut self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        self.answer()
    }

    fn post(&mut self, body: &str) -> (u16, String) {
        self.send(&format!("POST /notes HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        self.answer()
    }
}

#[tokio::test]
async fn notes_are_kept_across_a_kill_and_a_torn_write() {
    let dir = tempfile::tempdir().unwrap();
    let (mut daemon, mut client) = start(dir.path()).await;
    assert_eq!(client.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(client.post("first"), (201, "1\n".to_owned()));
    assert_eq!(client.post("second\nof two lines"), (201, "2\n".to_owned()));
    daemon.kill().unwrap();
    let log = dir.path().join("state/data/notes.log");
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(b"40\nhalf a note").unwrap();

    let (daemon, mut client) = start(dir.path()).await;
    assert_eq!(client.get("/notes/2"), (200, "second\nof two lines".to_owned()));
    assert_eq!(client.get("/notes"), (200, "first\nsecond\nof two lines\n".to_owned()));
    assert_eq!(client.post("third"), (201, "3\n".to_owned()));
    assert_eq!(client.get("/notes/3?x=1"), (200, "third".to_owned()));
    let (status, text) = client.get("/");
    assert!(status == 200 && text.contains(&format!("pid {}: 3 notes", daemon.id())), "{text}");
}

#[tokio::test]
async fn bad_requests_are_refused_and_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (_daemon, mut client) = start(dir.path()).await;
    let address = client.0.get_ref().peer_addr().unwrap().to_string();
    for (request, status) in [
        ("GET /\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000)), 400),
        ("POST /notes HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n".to_owned(), 413),
        ("POST /notes HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), 411),
    ] {
        let mut hostile = Client::connect(&address);
        hostile.send(&request);
        assert_eq!(hostile.answer().0, status, "for {request:.40}");
    }
    for (path, status) in [("/notes/0", 404), ("/notes/1", 404), ("/notes/x", 404), ("/etc/passwd", 404)] {
        assert_eq!(client.get(path).0, status, "for {path}");
    }
    client.send("DELETE /notes HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().0, 405);
    client.send("GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert_eq!((client.answer().0, client.answer().0), (200, 200), "two requests at once");
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "the connection stayed open after close");
}

#[test]
fn programs_that_come_to_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let program = write_notes(dir.path()).unwrap();
    fs::write(dir.path().join("in.txt"), "one two\n three\n").unwrap();
    let run = |arguments: &[&str]| {
        // The program was written a moment ago: another test's fork may still hold it open.
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(dir.path());
        (0..100)
            .find_map(|_| command.status().map_err(|_| std::thread::sleep(Duration::from_millis(5))).ok())
            .unwrap()
            .code()
    };
    assert_eq!(run(&["wordcount", "in.txt", "out.json"]), Some(0));
    let counted = fs::read_to_string(dir.path().join("out.json")).unwrap();
    assert_eq!(counted, "{\"lines\":2,\"words\":3,\"bytes\":15}\n");
    assert_eq!(run(&["wordcount", "missing", "out.json"]), Some(2));
    assert_eq!(run(&["exit", "7"]), Some(7));
    assert_eq!(run(&["sleep", "0.01"]), Some(0));
    assert_eq!(run(&["burn", "0.01"]), Some(0));
    assert_eq!(run(&["sleep", "-1"]), Some(2));
    assert_eq!(run(&[]), Some(2));
}
