//! Notes: a small application that keeps state, for tests and the demo. It has no dependencies and is one
//! file, because build.rs compiles it with nothing but the compiler.
//!
//! `notes --listen ADDR --data DIR [--delay-ms N] [--ballast FILES BYTES PERCENT]` serves HTTP/1.1, and with ballast keeps
//! that many files of that size beside the notes and rewrites that share of all their bytes every second; `notes wordcount IN OUT`, `notes sleep
//! SECONDS`, `notes burn SECONDS` and `notes exit CODE` are programs that come to an end.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Most connections at once; more are told to come back later.
const CONNECTIONS_MAX: usize = 256;
/// Stack of a connection's thread: it holds no large values.
const STACK_BYTES: usize = 256 << 10;
/// Longest request line and headers together.
const HEAD_MAX: u64 = 16 << 10;
/// Longest note.
const NOTE_MAX: usize = 1 << 20;
/// Most bytes of notes altogether; they are kept in memory too.
const NOTES_MAX: u64 = 256 << 20;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(120);
/// Exit code of wrong arguments, and of a task whose input is missing.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["wordcount", input, output] => word_count(Path::new(input), Path::new(output)),
        ["sleep", seconds] => duration(seconds).map(|d| {
            thread::sleep(d);
            ExitCode::SUCCESS
        }),
        ["burn", seconds] => duration(seconds).map(burn),
        ["exit", code] => code.parse().map(|c: u8| c.into()).map_err(|_| format!("{code:?} is not an exit code")),
        _ => Options::parse(&words).and_then(|o| serve(&o)),
    };
    done.unwrap_or_else(|message| {
        let _ = writeln!(io::stderr(), "notes: {message}");
        USAGE.into()
    })
}

fn duration(seconds: &str) -> Result<Duration, String> {
    let number = seconds.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    number.ok_or_else(|| format!("{seconds:?} is not a number of seconds"))
}

/// Keeps one processor busy.
fn burn(time: Duration) -> ExitCode {
    let begin = Instant::now();
    let mut x = 1_u64;
    while begin.elapsed() < time {
        for _ in 0..100_000 {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    ExitCode::SUCCESS
}

/// Counts lines, words and bytes of `input` and writes them to `output` as JSON.
fn word_count(input: &Path, output: &Path) -> Result<ExitCode, String> {
    let error = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let mut reader = BufReader::new(File::open(input).map_err(|e| error(input, e))?);
    let (mut lines, mut words, mut bytes, mut in_word) = (0_u64, 0_u64, 0_usize, false);
    loop {
        let part = reader.fill_buf().map_err(|e| error(input, e))?;
        if part.is_empty() {
            break;
        }
        for byte in part {
            lines += u64::from(*byte == b'\n');
            words += u64::from(!in_word && !byte.is_ascii_whitespace());
            in_word = !byte.is_ascii_whitespace();
        }
        let length = part.len();
        bytes += length;
        reader.consume(length);
    }
    let json = format!("{{\"lines\":{lines},\"words\":{words},\"bytes\":{bytes}}}\n");
    fs::write(output, &json).map_err(|e| error(output, e))?;
    let _ = write!(io::stdout(), "{json}");
    Ok(ExitCode::SUCCESS)
}

struct Options {
    listen: SocketAddr,
    data: PathBuf,
    delay: Duration,
    ballast: Option<Ballast>,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let (mut listen, mut data, mut delay) = (None, None, Duration::ZERO);
        let mut ballast = None;
        let mut words = words;
        while !words.is_empty() {
            if let ["--ballast", files, bytes, percent, rest @ ..] = words {
                let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
                ballast = Some(Ballast { files: number(files)?, bytes: number(bytes)?, percent: number(percent)? });
                words = rest;
                continue;
            }
            let (pair, rest) = words.split_at(words.len().min(2));
            words = rest;
            match pair {
                ["--listen", v] => {
                    listen = Some(v.parse().map_err(|_| format!("{v:?} is not an address with a port"))?)
                }
                ["--data", v] => data = Some(PathBuf::from(v)),
                ["--delay-ms", v] => {
                    delay = v.parse().map(Duration::from_millis).map_err(|_| format!("{v:?} is not a number"))?;
                }
                other => return Err(format!("unknown or incomplete: {}", other.join(" "))),
            }
        }
        match (listen, data) {
            (Some(listen), Some(data)) => Ok(Self { listen, data, delay, ballast }),
            _ => {
                Err("write notes --listen ADDRESS:PORT --data DIRECTORY [--delay-ms N] [--ballast FILES BYTES PERCENT]"
                    .to_owned())
            }
        }
    }
}

fn serve(options: &Options) -> Result<ExitCode, String> {
    if let Some(ballast) = options.ballast {
        let directory = options.data.join("ballast");
        ballast.fill(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
        // It ends with the program.
        thread::spawn(move || ballast.rewrite(&directory));
    }
    let store = Store::open(&options.data).map_err(|e| format!("{}: {e}", options.data.display()))?;
    let listener = TcpListener::bind(options.listen).map_err(|e| format!("{}: {e}", options.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let mut stdout = io::stdout();
    // Nobody may be reading; that is no reason to stop.
    let _ = writeln!(stdout, "ready http={address}").and_then(|()| stdout.flush());
    let server = Arc::new(Server { store: Mutex::new(store), delay: options.delay, connections: AtomicUsize::new(0) });
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => server.accept(stream),
            // Out of descriptors, for instance: it passes, and must not spin meanwhile.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Files that change all the time, so that there is something to move.
#[derive(Clone, Copy)]
struct Ballast {
    files: u64,
    bytes: u64,
    /// Share of all bytes that is rewritten each second.
    percent: u64,
}

/// Bytes that are rewritten at once.
const STRETCH: u64 = 4 << 20;

impl Ballast {
    /// Makes the files that are not there yet, of bytes that cannot be compressed.
    fn fill(self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for n in 0..self.files {
            let path = directory.join(format!("{n:06}.bin"));
            if fs::metadata(&path).is_ok_and(|m| m.len() == self.bytes) {
                continue;
            }
            let mut file = File::create(&path)?;
            let mut left = self.bytes;
            while left > 0 {
                let part = left.min(STRETCH);
                file.write_all(&noise(n ^ left, part))?;
                left -= part;
            }
            file.sync_data()?;
        }
        Ok(())
    }

    /// Rewrites stretch after stretch, in place, at a steady rate.
    fn rewrite(self, directory: &Path) {
        let per_second = self.files * self.bytes * self.percent / 100;
        if per_second == 0 {
            return;
        }
        let stretch = self.bytes.min(STRETCH);
        let pause = Duration::from_secs_f64(stretch as f64 / per_second as f64);
        let mut turn = u64::from(std::process::id());
        loop {
            let begin = Instant::now();
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let path = directory.join(format!("{:06}.bin", (turn >> 33) % self.files));
            let at = (turn >> 17) % (self.bytes / stretch) * stretch;
            if let Ok(file) = File::options().write(true).open(path) {
                let _ = std::os::unix::fs::FileExt::write_all_at(&file, &noise(turn, stretch), at);
            }
            thread::sleep(pause.saturating_sub(begin.elapsed()));
        }
    }
}

/// Bytes that look random.
fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while (bytes.len() as u64) < length {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

/// The notes, in memory and in a file that only grows: for each its length, a line feed, its bytes, a line feed.
struct Store {
    file: File,
    notes: Vec<String>,
    bytes: u64,
}

impl Store {
    fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join("notes.log");
        let file = File::options().create(true).read(true).append(true).open(&path)?;
        // The file's name must survive a power cut as well as its content.
        File::open(directory)?.sync_all()?;
        let mut store = Self { file, notes: Vec::new(), bytes: 0 };
        let mut reader = BufReader::new(File::open(&path)?);
        while let Some((note, length)) = read_note(&mut reader)? {
            store.notes.push(note);
            store.bytes += length;
        }
        // What follows the last whole note was being written when the power went: nobody was told it is stored.
        store.file.set_len(store.bytes)?;
        Ok(store)
    }

    /// The new note's number, once it is on the disk; `None` when there is no room.
    fn append(&mut self, text: String) -> io::Result<Option<usize>> {
        let entry = format!("{}\n{text}\n", text.len());
        if self.bytes + entry.len() as u64 > NOTES_MAX {
            return Ok(None);
        }
        let written = self.file.write_all(entry.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            // Half a note must not stand before the next one.
            self.file.set_len(self.bytes)?;
            return Err(e);
        }
        self.bytes += entry.len() as u64;
        self.notes.push(text);
        Ok(Some(self.notes.len()))
    }
}

/// The next note and how many bytes it takes in the file; `None` at the end or where a note is torn.
fn read_note(reader: &mut impl BufRead) -> io::Result<Option<(String, u64)>> {
    let mut head = String::new();
    // A torn head may be anything, even no text.
    if reader.by_ref().take(20).read_line(&mut head).is_err() {
        return Ok(None);
    }
    let Some(length) = head.strip_suffix('\n').and_then(|n| n.parse::<usize>().ok()) else { return Ok(None) };
    if length > NOTE_MAX {
        return Ok(None);
    }
    let mut body = vec![0; length + 1];
    match reader.read_exact(&mut body) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let whole = body.pop() == Some(b'\n');
    let total = (head.len() + length + 1) as u64;
    Ok(String::from_utf8(body).ok().filter(|_| whole).map(|text| (text, total)))
}

struct Server {
    store: Mutex<Store>,
    delay: Duration,
    connections: AtomicUsize,
}

/// Counts a connection for as long as it lives.
struct Slot(Arc<Server>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
    keep_alive: bool,
}

struct Answer {
    status: &'static str,
    body: String,
}

impl Answer {
    fn new(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }

    fn write(&self, stream: &mut TcpStream, keep_alive: bool) -> io::Result<()> {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let (status, body) = (self.status, &self.body);
        let whole = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(whole.as_bytes())
    }
}

impl Server {
    fn accept(self: &Arc<Self>, mut stream: TcpStream) {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            drop(Slot(self.clone()));
            let _ = Answer::new("503 Service Unavailable", "too many connections\n").write(&mut stream, false);
            return;
        }
        let slot = Slot(self.clone());
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        // A thread that cannot be started drops the connection, and with it its slot.
        let _ = thread.spawn(move || slot.0.talk(stream));
    }

    /// Answers the requests of one connection until it ends.
    fn talk(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_write_timeout(Some(IDLE))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            match read_request(&mut reader, &mut stream)? {
                None => return Ok(()),
                Some(Err(refusal)) => return refusal.write(&mut stream, false),
                Some(Ok(request)) => {
                    thread::sleep(self.delay);
                    self.answer(&request).write(&mut stream, request.keep_alive)?;
                    if !request.keep_alive {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/healthz") => Answer::new("200 OK", "ok\n"),
            ("GET", "/") => {
                let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
                let (pid, count) = (std::process::id(), store.notes.len());
                Answer::new("200 OK", format!("notes on {} pid {pid}: {count} notes\n", host.trim()))
            }
            ("GET", "/notes") => {
                Answer::new("200 OK", store.notes.iter().map(|n| format!("{n}\n")).collect::<String>())
            }
            ("GET", path) => match path.strip_prefix("/notes/").and_then(|n| n.parse::<usize>().ok()) {
                Some(number) => match number.checked_sub(1).and_then(|i| store.notes.get(i)) {
                    Some(note) => Answer::new("200 OK", note.clone()),
                    None => Answer::new("404 Not Found", "no such note\n"),
                },
                None => Answer::new("404 Not Found", "no such page\n"),
            },
            ("POST", "/notes") => match String::from_utf8(request.body.clone()) {
                Err(_) => Answer::new("400 Bad Request", "a note is UTF-8 text\n"),
                Ok(text) => match store.append(text) {
                    Ok(Some(number)) => Answer::new("201 Created", format!("{number}\n")),
                    Ok(None) => Answer::new("507 Insufficient Storage", "too many notes\n"),
                    Err(e) => Answer::new("500 Internal Server Error", format!("not stored: {e}\n")),
                },
            },
            _ => Answer::new("405 Method Not Allowed", "only GET, and POST to /notes\n"),
        }
    }
}

type Read1 = Result<Request, Answer>;

/// One request; `None` when the client has gone, an answer when what it sent is refused.
fn read_request(reader: &mut BufReader<TcpStream>, stream: &mut TcpStream) -> io::Result<Option<Read1>> {
    let Some(mut head) = read_head(reader)? else { return Ok(None) };
    let bad = |text: &str| Ok(Some(Err(Answer::new("400 Bad Request", format!("{text}\n")))));
    let Some(first) = head.pop_front() else { return bad("the headers are too long or not text") };
    let parts: Vec<&str> = first.split(' ').collect();
    let [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] = parts[..] else {
        return bad("not an HTTP/1.1 request");
    };
    let (mut length, mut keep_alive, mut wants_continue) = (0, version == "HTTP/1.1", false);
    for line in head {
        let Some((name, value)) = line.split_once(':') else { return bad("a header has no colon") };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => match value.parse::<usize>() {
                Ok(n) if n <= NOTE_MAX => length = n,
                _ => return Ok(Some(Err(Answer::new("413 Content Too Large", "a note has at most 1 MiB\n")))),
            },
            "transfer-encoding" => return Ok(Some(Err(Answer::new("411 Length Required", "send content-length\n")))),
            "connection" if value.eq_ignore_ascii_case("close") => keep_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => keep_alive = true,
            "expect" => wants_continue = true,
            _ => {}
        }
    }
    if wants_continue {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Some(Ok(Request { method: method.to_owned(), path, body, keep_alive })))
}

/// The lines before the body; none of them when they are too long, `None` when the client has gone.
fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<VecDeque<String>>> {
    let mut limited = reader.by_ref().take(HEAD_MAX);
    let mut lines = VecDeque::new();
    loop {
        let mut line = Vec::new();
        if limited.read_until(b'\n', &mut line)? == 0 {
            let cut = limited.limit() == 0;
            return Ok(cut.then(VecDeque::new));
        }
        let Some(text) = String::from_utf8(line).ok().filter(|l| l.ends_with('\n')) else {
            return Ok(Some(VecDeque::new()));
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" if lines.is_empty() => {}
            "" => return Ok(Some(lines)),
            text => lines.push_back(text.to_owned()),
        }
    }
}
