//! Mail of a local run: an SMTP server (`smtp_catcher.py` on aiosmtpd), and a reader of the `.eml` files that this server or
//! the provider `files` writes into the mail folder.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use mailparse::{MailHeaderMap as _, ParsedMail};

use crate::{
    dev, ports,
    process::{Process, Program, Ready, Run},
    root, tools,
};

/// A running SMTP server that keeps the messages it accepts.
#[derive(Debug)]
pub struct Catcher {
    /// Its process.
    pub process: Process,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    control: PathBuf,
}

impl Catcher {
    /// Starts it on a free port; accepted messages appear in `mail_dir`.
    pub fn launch(run: &Run, mail_dir: &Path) -> anyhow::Result<Self> {
        Self::launch_for(run, mail_dir, None)
    }

    /// [`Catcher::launch`], listening also on an address of this machine that pods or other machines can reach.
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

    /// Sets the behaviour for the next messages, in the syntax of `smtp_catcher.py`: `"rcpt 550 1"`, `"data 450 2"`,
    /// `"drop"`, `"accept-drop 1"`, `"silent 1"`, `"accept"`.
    pub fn order(&self, order: &str) -> anyhow::Result<()> {
        let new = self.control.with_extension("new");
        fs::write(&new, order)?;
        fs::rename(new, &self.control)?;
        Ok(())
    }
}

/// A Python with aiosmtpd, which is installed if missing.
pub fn python() -> anyhow::Result<PathBuf> {
    tools::venv(&dev().join("venv"), "aiosmtpd", tools::version("AIOSMTPD_VERSION"))
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The file.
    pub path: PathBuf,
    /// The whole message.
    pub raw: String,
}

impl Message {
    /// A header of the message, unfolded and decoded.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.parsed()?.headers.get_first_value(name)
    }

    /// The plain text, decoded.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.part("text/plain")
    }

    /// The HTML, decoded.
    #[must_use]
    pub fn html(&self) -> Option<String> {
        self.part("text/html")
    }

    /// When the server had received all of it.
    #[must_use]
    pub fn accepted_at(&self) -> SystemTime {
        accepted_at(&self.path)
    }

    fn parsed(&self) -> Option<ParsedMail<'_>> {
        mailparse::parse_mail(self.raw.as_bytes()).ok()
    }

    /// The first part of this type, at any depth.
    fn part(&self, mimetype: &str) -> Option<String> {
        let message = self.parsed()?;
        let part = message.parts().find(|part| part.ctype.mimetype == mimetype)?;
        Some(part.get_body().ok()?.replace("\r\n", "\n").trim().to_owned())
    }
}

/// The messages of a mail folder that are not in `seen`, in order of arrival. Adds them to `seen`.
#[must_use]
pub fn arrived(mail_dir: &Path, seen: &mut BTreeSet<PathBuf>) -> Vec<Message> {
    let mut paths: Vec<PathBuf> = fs::read_dir(mail_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml") && !seen.contains(path))
        .collect();
    paths.sort_by_cached_key(|path| accepted_at(path));
    seen.extend(paths.iter().cloned());
    let read =
        |path: PathBuf| Some(Message { raw: String::from_utf8_lossy(&fs::read(&path).ok()?).into_owned(), path });
    paths.into_iter().filter_map(read).collect()
}

/// Every message of a mail folder, in order of arrival.
#[must_use]
pub fn messages(mail_dir: &Path) -> Vec<Message> {
    arrived(mail_dir, &mut BTreeSet::new())
}

/// The SMTP server names a file by the nanosecond at which it had the whole message. The provider `files` writes a file when
/// it accepts a message.
fn accepted_at(path: &Path) -> SystemTime {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let nanoseconds = name.split('-').next().filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok());
    match nanoseconds {
        Some(nanoseconds) => SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
        None => fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(raw: &str) -> Message {
        Message { path: PathBuf::from("00000001700000000000-7-0.eml"), raw: raw.into() }
    }

    #[test]
    fn both_parts_of_a_message_are_decoded_and_its_headers_unfolded() {
        let mail = message(
            "From: a@b\nSubject: Reminder:\n call\nContent-Type: multipart/alternative;\n boundary=\"x=y\"\n\n\
             --x=y\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n\
             caf=C3=A9 at =\n9\n\
             --x=y\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPGI+Y2Fm\nw6k8L2I+\n--x=y--\n",
        );
        assert_eq!(mail.text().as_deref(), Some("café at 9"));
        assert_eq!(mail.html().as_deref(), Some("<b>café</b>"));
        assert_eq!(mail.header("subject").as_deref(), Some("Reminder: call"));
        assert_eq!(mail.accepted_at(), SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000));
    }

    #[test]
    fn a_message_without_parts_is_its_text() {
        assert_eq!(message("Subject: x\n\nhello\n").text().as_deref(), Some("hello"));
        assert_eq!(message("Subject: x\n\nhello\n").html(), None);
    }
}
