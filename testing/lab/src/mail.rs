//! Mail of a local run: the SMTP catcher (`smtp_catcher.py` on aiosmtpd), and reading the `.eml` files that it, or the
//! `files` provider, leaves in the mail folder.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    dev, ports,
    process::{Process, Program, Ready, Run},
    root, tools,
};

const AIOSMTPD: &str = "1.4.6";

/// A running SMTP server that keeps what it accepts.
#[derive(Debug)]
pub struct Catcher {
    /// Its process.
    pub process: Process,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    control: PathBuf,
}

impl Catcher {
    /// Starts it on a free port; what it accepts appears in `mail_dir`.
    ///
    /// # Errors
    /// When it cannot be installed or started.
    pub fn launch(run: &Run, mail_dir: &Path) -> anyhow::Result<Self> {
        Self::launch_for(run, mail_dir, None)
    }

    /// The same, that also listens on an address of this machine which others reach.
    ///
    /// # Errors
    /// As those of [`Catcher::launch`].
    pub fn launch_for(run: &Run, mail_dir: &Path, others: Option<IpAddr>) -> anyhow::Result<Self> {
        let python = python()?;
        let port = ports::free();
        let control = run.dir.join("smtp-control");
        let _ = fs::remove_file(&control);
        let program = Program::new("smtp", python)
            .args([root().join("testing/lab/smtp_catcher.py").display().to_string(), port.to_string()])
            .args([mail_dir.display().to_string(), control.display().to_string()])
            .args(others.map(|address| address.to_string()))
            .ready(Ready::Tcp(port));
        Ok(Self { process: Process::spawn(run, program)?, port, control })
    }

    /// Tells it what to do with the next messages, in the words of `smtp_catcher.py`: `"rcpt 550 1"`, `"data 450 2"`,
    /// `"drop"`, `"accept-drop 1"`, `"silent 1"`, `"accept"`.
    ///
    /// # Errors
    /// When the order cannot be written.
    pub fn order(&self, order: &str) -> anyhow::Result<()> {
        let new = self.control.with_extension("new");
        fs::write(&new, order)?;
        fs::rename(new, &self.control)?;
        Ok(())
    }
}

/// A Python that has aiosmtpd; installs it where it is missing.
///
/// # Errors
/// When there is no Python 3, or pip fails.
pub fn python() -> anyhow::Result<PathBuf> {
    tools::venv(&dev().join("venv"), "aiosmtpd", AIOSMTPD)
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The file.
    pub path: PathBuf,
    /// All of it.
    pub raw: String,
}

impl Message {
    /// A header of the message, unfolded; encoded words are left as they are.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        header(self.raw.split_once("\n\n").map_or(self.raw.as_str(), |(head, _)| head), name)
    }

    /// Its text, decoded.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        part(&self.raw, "text/plain")
    }

    /// Its HTML, decoded.
    #[must_use]
    pub fn html(&self) -> Option<String> {
        part(&self.raw, "text/html")
    }
}

/// The messages of a mail folder in the order they arrived, without those in `seen`, which they join.
#[must_use]
pub fn arrived(mail_dir: &Path, seen: &mut BTreeSet<PathBuf>) -> Vec<Message> {
    let mut paths: Vec<PathBuf> = fs::read_dir(mail_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml") && !seen.contains(path))
        .collect();
    paths.sort_by_cached_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    seen.extend(paths.iter().cloned());
    paths.into_iter().filter_map(|path| read(&path)).collect()
}

/// Every message of a mail folder.
#[must_use]
pub fn messages(mail_dir: &Path) -> Vec<Message> {
    arrived(mail_dir, &mut BTreeSet::new())
}

fn read(path: &Path) -> Option<Message> {
    let raw = String::from_utf8_lossy(&fs::read(path).ok()?).replace("\r\n", "\n");
    Some(Message { path: path.to_path_buf(), raw })
}

fn header(head: &str, name: &str) -> Option<String> {
    let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
    unfolded.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// The first part of this type, however deep.
fn part(entity: &str, wanted: &str) -> Option<String> {
    let (head, body) = entity.split_once("\n\n")?;
    let content_type = header(head, "content-type").unwrap_or_else(|| "text/plain".into());
    if let Some(boundary) = boundary(&content_type) {
        let delimiter = format!("--{boundary}");
        return body.split(&delimiter).skip(1).find_map(|part| self::part(part.strip_prefix('\n')?, wanted));
    }
    if !content_type.to_ascii_lowercase().starts_with(wanted) {
        return None;
    }
    let encoding = header(head, "content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
    let bytes = match encoding.as_str() {
        "base64" => BASE64_STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?,
        "quoted-printable" => quoted_printable(body),
        _ => body.as_bytes().to_vec(),
    };
    Some(String::from_utf8_lossy(&bytes).replace("\r\n", "\n").trim().to_owned())
}

fn boundary(content_type: &str) -> Option<String> {
    if !content_type.to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let at = content_type.to_ascii_lowercase().find("boundary=")?;
    let value = content_type[at + "boundary=".len()..].split(';').next()?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        match hex.filter(|_| *first == b'=') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(raw: &str) -> Message {
        Message { path: PathBuf::new(), raw: raw.into() }
    }

    #[test]
    fn both_parts_of_a_message_are_read_whatever_their_encoding() {
        let mail = message(
            "From: a@b\nSubject: Reminder:\n call\nContent-Type: multipart/alternative;\n boundary=\"x=y\"\n\n\
             --x=y\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n\
             caf=C3=A9 at =\n9\n\
             --x=y\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPGI+Y2Fm\nw6k8L2I+\n--x=y--\n",
        );
        assert_eq!(mail.text().as_deref(), Some("café at 9"));
        assert_eq!(mail.html().as_deref(), Some("<b>café</b>"));
        assert_eq!(mail.header("subject").as_deref(), Some("Reminder: call"));
    }

    #[test]
    fn a_message_without_parts_is_its_text() {
        assert_eq!(message("Subject: x\n\nhello\n").text().as_deref(), Some("hello"));
        assert_eq!(message("Subject: x\n\nhello\n").html(), None);
    }
}
