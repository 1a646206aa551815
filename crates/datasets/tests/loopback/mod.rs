//! A loopback HTTP server that behaves as a test tells it to.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server that answers its n-th connection (from 0) as told, and remembers the requests.
pub(crate) struct Server {
    /// `http://127.0.0.1:<port>`.
    pub(crate) address: String,
    /// Every request so far, in lower case.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server.
    pub(crate) fn start(
        answer: impl Fn(usize, &str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (seen, answer) = (seen.clone(), answer.clone());
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let request = read_request(&mut stream);
                    seen.lock().unwrap().push(request.clone());
                    // The client may have gone: that is part of the play.
                    let _ = answer(number, &request, &mut stream);
                });
            }
        });
        Self { address, requests }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap().to_lowercase()
}

/// The first byte that a request asks for.
pub(crate) fn range_start(request: &str) -> Option<usize> {
    request.split("range: bytes=").nth(1)?.split('-').next()?.parse().ok()
}

/// Sends the head of an answer; `more` are further lines, each with its line feed.
pub(crate) fn head(stream: &mut TcpStream, status: &str, length: usize, more: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n")
}

/// Serves `content` as a good server does, ranges included.
pub(crate) fn serve(stream: &mut TcpStream, request: &str, content: &[u8]) -> std::io::Result<()> {
    match range_start(request) {
        Some(start) if request.contains("if-range: \"v1\"") => {
            let range =
                format!("ETag: \"v1\"\r\nContent-Range: bytes {start}-{}/{}\r\n", content.len() - 1, content.len());
            head(stream, "206 Partial Content", content.len() - start, &range)?;
            stream.write_all(&content[start..])
        }
        _ => {
            head(stream, "200 OK", content.len(), "ETag: \"v1\"\r\n")?;
            stream.write_all(content)
        }
    }
}

/// Announces all of `content`, sends a part of it and ends the connection.
pub(crate) fn serve_cut(stream: &mut TcpStream, content: &[u8], length: usize) -> std::io::Result<()> {
    head(stream, "200 OK", content.len(), "ETag: \"v1\"\r\n")?;
    stream.write_all(&content[..length])
}
