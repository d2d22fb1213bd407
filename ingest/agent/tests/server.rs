//! A small HTTP server on loopback: takes what the agent sends, and shows a page to be scraped.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A request with a body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// What it was answered with.
    pub(crate) status: u16,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    /// Answers to come, each a status and headers; 204 when there is none left.
    answers: Vec<(u16, &'static str)>,
    /// Body length above which the answer is 413.
    bytes_max: Option<usize>,
    /// What a GET shows; none is 500.
    page: Option<String>,
}

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
    came: Arc<Notify>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let server = Self { address, state: Arc::default(), came: Arc::default() };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn answer(&self, answers: &[(u16, &'static str)]) {
        self.state.lock().answers.extend(answers.iter().rev());
    }

    pub(crate) fn refuse_above(&self, bytes_max: usize) {
        self.state.lock().bytes_max = Some(bytes_max);
    }

    pub(crate) fn show(&self, page: Option<&str>) {
        self.state.lock().page = page.map(str::to_owned);
    }

    /// Waits until what came so far is enough.
    pub(crate) async fn until<T>(&self, enough: impl Fn(&[Request]) -> Option<T>) -> T {
        let look = async {
            loop {
                let came = self.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                if let Some(found) = enough(&self.state.lock().requests) {
                    return found;
                }
                came.await;
            }
        };
        let limit = std::time::Duration::from_secs(60);
        match tokio::time::timeout(limit, look).await {
            Ok(found) => found,
            Err(_) => panic!("it did not come; {} requests did", self.state.lock().requests.len()),
        }
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let mut buf = [0; 16 * 1024];
        loop {
            let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                match stream.read(&mut buf).await {
                    Ok(n) if n > 0 => bytes.extend_from_slice(&buf[..n]),
                    _ => return,
                }
                continue;
            };
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let total = end + 4 + length.unwrap_or(0);
            while bytes.len() < total {
                match stream.read(&mut buf).await {
                    Ok(n) if n > 0 => bytes.extend_from_slice(&buf[..n]),
                    _ => return,
                }
            }
            let body = bytes[end + 4..total].to_vec();
            bytes.drain(..total);
            if stream.write_all(self.respond(head, body).as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn respond(&self, head: String, body: Vec<u8>) -> String {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut state = self.state.lock();
        let answer = if head.starts_with("get") {
            match &state.page {
                Some(page) => {
                    let length = page.len();
                    format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{page}"
                    )
                }
                None => "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
            }
        } else {
            let (status, headers) = match state.bytes_max {
                Some(bytes_max) if body.len() > bytes_max => (413, ""),
                _ => state.answers.pop().unwrap_or((204, "")),
            };
            state.requests.push(Request { path, head, body, status });
            let length = if status == 204 { "" } else { "Content-Length: 0\r\n" };
            format!("HTTP/1.1 {status} x\r\n{length}{headers}\r\n")
        };
        drop(state);
        self.came.notify_waiters();
        answer
    }
}
