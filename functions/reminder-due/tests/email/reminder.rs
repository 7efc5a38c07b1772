use reminder_due::email::{Links, ReminderMail};
use uuid::Uuid;

use crate::email;

fn mail(title: &str) -> ReminderMail {
    let due = Some("Friday, 27 November 2026 at 10:00".to_owned());
    ReminderMail::new(title, due, "Friday, 27 November 2026 at 09:30".to_owned(), None)
}

#[test]
fn a_reminder_says_what_is_due_and_when() {
    let sent = mail("call the dentist").email(email().id, "ada@example.com".to_owned()).unwrap();
    assert_eq!(sent.subject, "Reminder: call the dentist");
    assert_eq!(
        sent.text,
        "call the dentist\n\n\
         Due: Friday, 27 November 2026 at 10:00\n\
         Reminder set for: Friday, 27 November 2026 at 09:30\n\n\
         You get this message because a reminder is set on this task in Punctual."
    );
    for words in ["call the dentist", "Friday, 27 November 2026 at 10:00", "Friday, 27 November 2026 at 09:30"] {
        assert!(sent.html.contains(words), "{words} is not in {}", sent.html);
    }
}

#[test]
fn a_late_message_states_its_planned_time() {
    let late = ReminderMail::new("call", None, "Friday at 09:30".to_owned(), Some("2 hours".to_owned()));
    let sent = late.email(Uuid::now_v7(), "ada@example.com".to_owned()).unwrap();
    let note = "This reminder was planned for Friday at 09:30 and comes 2 hours late.";
    assert_eq!(
        sent.text,
        format!("call\n\n{note}\n\nYou get this message because a reminder is set on this task in Punctual.")
    );
    assert!(sent.html.contains(note));
    assert!(!sent.html.contains("Due:"));
}

#[test]
fn a_title_is_escaped_and_on_one_line_in_subject_text_and_html() {
    let sent =
        mail("</title><img src=x onerror=alert(1)>\r\nBcc: \"eve\" & co").email(Uuid::now_v7(), String::new()).unwrap();
    assert!(!sent.html.contains("<img"), "{}", sent.html);
    assert_eq!(sent.html.matches("</title>").count(), 1);
    assert!(sent.text.starts_with("</title><img src=x onerror=alert(1)> Bcc: \"eve\" & co\n\n"), "{}", sent.text);
    assert_eq!(sent.subject, "Reminder: </title><img src=x onerror=alert(1)> Bcc: \"eve\" & co");
    assert_eq!(mail(" \t\u{0}\n ").subject(), "Reminder: (untitled task)");
}

#[test]
fn a_long_title_is_cut_in_the_subject_and_whole_in_the_message() {
    let title = "ä".repeat(500);
    let subject = mail(&title).subject();
    assert_eq!(subject, format!("Reminder: {}…", "ä".repeat(120)));
    let sent = mail(&title).email(Uuid::now_v7(), String::new()).unwrap();
    assert!(sent.text.contains(&title) && sent.html.contains(&title));
    assert_eq!(mail(&"ä".repeat(120)).subject(), format!("Reminder: {}", "ä".repeat(120)));
}

#[test]
fn a_title_is_cut_between_grapheme_clusters() {
    for character in ["👨‍👩‍👧‍👦", "🇩🇪", "e\u{301}", "한"] {
        let title = format!("{}{character}", "a".repeat(119));
        assert_eq!(mail(&title).subject(), format!("Reminder: {title}"));
        let longer = format!("{title}{character}");
        assert_eq!(mail(&longer).subject(), format!("Reminder: {title}…"));
    }
}

#[test]
fn a_title_cannot_hide_or_reverse_text_in_subject_text_and_html() {
    let sent = mail("pay \u{202e}gpj\u{2066}.e\u{200b}xe").email(Uuid::now_v7(), String::new()).unwrap();
    for text in [&sent.subject, &sent.text, &sent.html] {
        assert!(text.contains("pay gpj.exe"), "{text:?}");
    }
}

#[test]
fn the_html_loads_nothing() {
    let html = mail("call").email(Uuid::now_v7(), String::new()).unwrap().html;
    for remote in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!html.contains(remote), "{remote} in {html}");
    }
    assert!(html.contains("<html lang=\"en\">") && html.contains("color-scheme"));
}

#[test]
fn a_mail_with_links_has_them_in_text_and_html_and_loads_nothing() {
    let link = |action: &str| format!("https://punctual.example/#/act/{action}");
    let links = Links { done: link("d-o_ne"), snooze: link("snooze") };
    let sent = mail("call").with_links(Some(links)).email(Uuid::now_v7(), String::new()).unwrap();
    assert_eq!(
        sent.text,
        "call\n\n\
         Due: Friday, 27 November 2026 at 10:00\n\
         Reminder set for: Friday, 27 November 2026 at 09:30\n\n\
         Done: https://punctual.example/#/act/d-o_ne\n\
         Snooze for an hour: https://punctual.example/#/act/snooze\n\n\
         You get this message because a reminder is set on this task in Punctual."
    );
    let hrefs: Vec<_> = sent.html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(hrefs, [link("d-o_ne"), link("snooze")]);
    for remote in ["src=", "url(", "@import", "<script", "<form"] {
        assert!(!sent.html.contains(remote), "{remote} in {}", sent.html);
    }
    // Legible in light and dark: the colours are those of the mail program.
    assert!(!sent.html.contains("color: #") && !sent.html.contains("background"), "{}", sent.html);
}

#[test]
fn the_same_values_give_the_same_message() {
    let id = Uuid::now_v7();
    let words = || mail("call").email(id, "ada@example.com".to_owned()).unwrap();
    assert_eq!(words(), words());
}
