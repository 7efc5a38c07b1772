//! An SMTP server that answers each step according to its script, and records the session.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// The server's reaction to a step.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Reply(&'static str),
    /// Replies half a second later.
    LateReply(&'static str),
    /// Closes the connection.
    Drop,
    /// Keeps the connection and says nothing.
    Silence,
}

use Answer::Reply;

#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) greeting: Answer,
    pub(crate) hello: Answer,
    pub(crate) auth: Answer,
    pub(crate) mail: Answer,
    /// The answer to MAIL on a connection that has already carried a message.
    pub(crate) mail_again: Answer,
    pub(crate) recipient: Answer,
    pub(crate) data: Answer,
    pub(crate) body: Answer,
    pub(crate) quit: Answer,
}

/// A server that accepts everything. Its texts contain a word that no reason may repeat.
pub(crate) const WILLING: Script = Script {
    greeting: Reply("220 canary.example ESMTP"),
    hello: Reply("250-canary.example\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN"),
    auth: Reply("235 2.7.0 canary"),
    mail: Reply("250 2.1.0 canary"),
    mail_again: Reply("250 2.1.0 canary"),
    recipient: Reply("250 2.1.5 <ada@example.com> canary"),
    data: Reply("354 canary"),
    body: Reply("250 2.0.0 queued as canary"),
    quit: Reply("221 2.0.0 canary"),
};

/// The events in order: commands by their text, `<354>`, `<body byte>` for the first byte after it, `<dot>`, `<end>`.
#[derive(Clone, Default)]
pub(crate) struct Story(Arc<Mutex<Vec<String>>>);

impl Story {
    pub(crate) fn add(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The credentials that came with AUTH.
    pub(crate) fn logins(&self) -> Vec<String> {
        let login = |event: &String| event.strip_prefix("<login> ").map(str::to_owned);
        self.events().iter().filter_map(login).collect()
    }

    /// Waits until `event` has happened, because the server runs in another task.
    pub(crate) async fn reaches(&self, event: &str) {
        for _ in 0..200 {
            if self.events().iter().any(|happened| happened == event) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{event} did not happen: {:?}", self.events());
    }
}

pub(crate) struct SmtpServer {
    pub(crate) url: String,
    pub(crate) story: Story,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl SmtpServer {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let (story, bodies) = (Story::default(), Arc::default());
        let server = Self { url, story: story.clone(), bodies: Arc::clone(&bodies) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut session = Session { stream: BufReader::new(stream), story: story.clone() };
                let bodies = Arc::clone(&bodies);
                // Serves sessions concurrently, as every server does: an idle connection must not block the others.
                tokio::spawn(async move {
                    // An error here means that the client went away, as some tests want.
                    let _ = session.run(script, &bodies).await;
                    session.story.add("<end>");
                });
            }
        });
        server
    }

    /// The messages received up to their final dot, with dot-stuffing removed.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }
}

struct Session {
    stream: BufReader<TcpStream>,
    story: Story,
}

impl Session {
    async fn run(&mut self, script: Script, bodies: &Mutex<Vec<Vec<u8>>>) -> std::io::Result<()> {
        if !self.answer(script.greeting).await? {
            return Ok(());
        }
        let mut carried = false;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            self.story.add(line.split_inclusive(' ').take(2).collect::<String>().trim_end());
            if let Some(login) = line.strip_prefix("AUTH PLAIN ") {
                self.story.add(format!("<login> {login}"));
            }
            let answer = match line.split([' ', ':']).next().unwrap() {
                "EHLO" => script.hello,
                "AUTH" => script.auth,
                "MAIL" if carried => script.mail_again,
                "MAIL" => script.mail,
                "RCPT" => script.recipient,
                "DATA" => script.data,
                "QUIT" => script.quit,
                _ => Reply("500 canary"),
            };
            if !self.answer(answer).await? {
                return Ok(());
            }
            if line == "DATA" && matches!(answer, Reply(reply) if reply.starts_with("354")) {
                self.story.add("<354>");
                let body = self.body().await?;
                bodies.lock().unwrap().push(body);
                self.story.add("<dot>");
                carried = true;
                if !self.answer(script.body).await? {
                    return Ok(());
                }
            }
        }
    }

    /// Gives an answer. Returns whether the session goes on.
    async fn answer(&mut self, answer: Answer) -> std::io::Result<bool> {
        match answer {
            Reply(reply) => self.stream.write_all(format!("{reply}\r\n").as_bytes()).await.map(|()| true),
            Answer::LateReply(reply) => {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                self.stream.write_all(format!("{reply}\r\n").as_bytes()).await.map(|()| true)
            }
            Answer::Drop => Ok(false),
            // Waits until the client gives up.
            Answer::Silence => self.stream.read_to_end(&mut Vec::new()).await.map(|_| false),
        }
    }

    async fn body(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = vec![self.stream.read_u8().await?];
        self.story.add("<body byte>");
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                return Ok(body);
            }
            body.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}
