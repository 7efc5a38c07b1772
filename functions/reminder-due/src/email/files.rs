//! Email as files, for development: one `.eml` per message, which any mail program opens.
//!
//! A file is written in a hidden folder and then renamed, so a program that watches the folder never sees a partial message. The file name
//! is the delivery's id, so a repeat overwrites it.

use std::{fs, io::Write as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use lettre::{Address, message::Mailbox};
use tokio::{task::spawn_blocking, time::timeout};
use uuid::Uuid;

use super::{Email, EmailConfig, SendError, message};

/// A folder of messages.
#[derive(Clone)]
pub struct Files {
    folder: PathBuf,
    from: Mailbox,
    deadline: Duration,
}

impl Files {
    pub(super) fn new(config: &EmailConfig) -> anyhow::Result<Self> {
        let folder = config.mail_dir.clone().context("EMAIL_PROVIDER=files needs MAIL_DIR")?;
        Ok(Self { folder, from: config.sender()?, deadline: config.deadline })
    }

    pub(super) async fn send(&self, email: &Email, to: Address) -> Result<String, SendError> {
        let message = message::build(email, &self.from, to)?.formatted();
        let (folder, id) = (self.folder.clone(), email.id);
        let path = timeout(self.deadline, spawn_blocking(move || write(folder, id, &message)))
            .await
            .map_err(|_| SendError::transient("files: the disk did not answer in time"))?
            .map_err(|_| SendError::transient("files: the writing task failed"))?
            .map_err(|error| SendError::transient(format!("files: {}", error.kind())))?;
        tracing::info!(
            delivery.id = %id,
            mail.file = %path.display(),
            "mail of delivery {id} written to {}",
            path.display()
        );
        Ok(message::id(email, &self.from))
    }
}

fn write(folder: PathBuf, id: Uuid, message: &[u8]) -> std::io::Result<PathBuf> {
    // The hidden folder is inside, because beside the folder may be another filesystem (a mounted volume), where a rename fails. The name
    // is unique, so concurrent attempts never write into one file.
    let hidden = folder.join(".partial");
    fs::create_dir_all(&hidden)?;
    let partial = hidden.join(format!("{id}.{}", Uuid::new_v4()));
    let path = folder.join(format!("{id}.eml"));
    let written = fs::File::create_new(&partial)
        .and_then(|mut file| file.write_all(message))
        .and_then(|()| fs::rename(&partial, &path));
    if written.is_err() {
        // Partial files must not fill up a full disk further. A failure here changes nothing.
        let _ = fs::remove_file(&partial);
    }
    written.map(|()| path)
}
