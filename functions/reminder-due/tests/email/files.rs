use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reminder_due::email::{Email, EmailConfig, Provider, ProviderName};

use crate::{Folder, config, email, failure, never_asked, parse, provider, transient};

fn into(folder: &Path) -> EmailConfig {
    EmailConfig { mail_dir: Some(folder.to_owned()), ..config(ProviderName::Files) }
}

/// The visible files, and the number of names left in the hidden folder.
fn listing(folder: &Path) -> (Vec<String>, usize) {
    let names = |path: &Path| -> Vec<String> {
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let visible = names(folder).into_iter().filter(|name| !name.starts_with('.')).collect();
    (visible, names(&folder.join(".partial")).len())
}

#[tokio::test]
async fn a_message_becomes_a_file_named_after_its_delivery() {
    let folder = Folder::new();
    // The folder need not exist.
    let mail_dir = folder.0.join("mail");
    let provider = provider(&into(&mail_dir));
    assert_eq!(provider.name(), "files");
    let email = email();

    let id = provider.send(&email, never_asked()).await.unwrap();
    assert_eq!(id, format!("<{}@punctual.example>", email.id));
    let name = format!("{}.eml", email.id);
    assert_eq!(listing(&mail_dir), (vec![name.clone()], 0));
    let (subject, text, html) = parse(&std::fs::read(mail_dir.join(name)).unwrap(), &email);
    assert_eq!(subject, email.subject);
    assert_eq!(text.trim_end(), email.text.trim_end());
    assert_eq!(html.trim_end(), email.html.trim_end());
}

#[tokio::test]
async fn a_repeated_message_overwrites_its_file() {
    let folder = Folder::new();
    let provider = provider(&into(&folder.0));
    assert!(provider.has_idempotency_key());
    let email = email();
    provider.send(&email, never_asked()).await.unwrap();
    provider.send(&Email { text: "again".to_owned(), ..email.clone() }, never_asked()).await.unwrap();

    assert_eq!(listing(&folder.0), (vec![format!("{}.eml", email.id)], 0));
    let (_, text, _) = parse(&std::fs::read(folder.0.join(format!("{}.eml", email.id))).unwrap(), &email);
    assert_eq!(text.trim_end(), "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_a_partial_file() {
    let folder = Folder::new();
    let provider = provider(&into(&folder.0));
    let email = Email { text: "a line of a long message\n".repeat(20_000), ..email() };
    provider.send(&email, never_asked()).await.unwrap();

    let path = folder.0.join(format!("{}.eml", email.id));
    let done = Arc::new(AtomicBool::new(false));
    let (watched, stop) = (path.clone(), Arc::clone(&done));
    let watcher = std::thread::spawn(move || {
        let mut reads = 0;
        while !stop.load(Ordering::SeqCst) {
            let message = std::fs::read(&watched).unwrap();
            assert!(message.trim_ascii_end().ends_with(b"--"), "a message without its end");
            reads += 1;
        }
        reads
    });
    for _ in 0..30 {
        provider.send(&email, never_asked()).await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    assert!(watcher.join().unwrap() > 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_tried_again() {
    let folder = Folder::new();
    let file = folder.0.join("a file");
    std::fs::write(&file, "").unwrap();
    let error = failure(provider(&into(&file)).send(&email(), never_asked()).await);
    assert_eq!(error, transient("files: not a directory"));
}

#[test]
fn files_need_a_folder_and_a_sender() {
    let missing = Provider::new(&config(ProviderName::Files), None).err().unwrap();
    assert!(missing.to_string().contains("MAIL_DIR"));
    let folder = Folder::new();
    let nobody = EmailConfig { email_from: "nobody".to_owned(), ..into(&folder.0) };
    assert!(Provider::new(&nobody, None).err().unwrap().to_string().contains("EMAIL_FROM"));
}
