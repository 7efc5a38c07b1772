//! Removes comments and needless white space from scripts and styles.
//!
//! A script stays the same sequence of tokens and line breaks, so no statement joins the next. To find where strings, templates, regular
//! expressions and comments begin and end, it reads tokens, and does not parse. It therefore takes a `/` after `)` or `]` for a division: put a
//! regular expression there into a variable. One that it takes wrongly for the other ends in an error, not in another script.

/// White space beside one of these separates nothing. `+`, `-`, `.` and `/` are not among them: beside their like they would become other tokens.
const LOOSE: &[u8] = b"{}()[];,:?=<>&|!*%^~";
/// Words before a regular expression. After any other word a `/` divides.
const BEFORE_REGEX: [&[u8]; 13] = [
    b"await",
    b"case",
    b"delete",
    b"do",
    b"else",
    b"in",
    b"instanceof",
    b"of",
    b"return",
    b"throw",
    b"typeof",
    b"void",
    b"yield",
];

/// A script without comments and indentation.
///
/// # Errors
/// When a string, template, comment, regular expression or brace does not end.
pub(crate) fn script(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut script = Script { text, at: 0, out: Vec::new(), depth: 0, templates: Vec::new() };
    while script.at < text.len() {
        script.token()?;
    }
    if script.depth == 0 { Ok(script.out) } else { Err("a brace is not closed") }
}

struct Script<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// How many braces are open.
    depth: usize,
    /// The depths at which expressions inside of templates began.
    templates: Vec<usize>,
}

impl Script<'_> {
    fn token(&mut self) -> Result<(), &'static str> {
        let rest = &self.text[self.at..];
        match rest[0] {
            b'/' if rest.starts_with(b"//") => self.at += position(rest, b"\n").unwrap_or(rest.len()),
            b'/' if rest.starts_with(b"/*") => {
                let end = position(&rest[2..], b"*/").ok_or("a comment does not end")? + 4;
                if rest[..end].contains(&b'\n') {
                    self.line()
                } else {
                    self.space()
                }
                self.at += end;
            }
            b'\n' => {
                self.line();
                self.at += 1;
            }
            b' ' | b'\t' => {
                self.space();
                self.at += 1;
            }
            quote @ (b'"' | b'\'') => self.literal(quote, "a string does not end")?,
            b'`' => {
                self.copy();
                self.template()?;
            }
            b'{' => {
                self.depth += 1;
                self.copy();
            }
            b'}' => {
                self.depth = self.depth.checked_sub(1).ok_or("a brace closes nothing")?;
                self.copy();
                if self.templates.last() == Some(&self.depth) {
                    self.templates.pop();
                    self.template()?;
                }
            }
            b'/' if self.begins_regex() => self.literal(b'/', "a regular expression does not end")?,
            _ => self.copy(),
        }
        Ok(())
    }

    /// Copies a character of code.
    fn copy(&mut self) {
        let char = self.text[self.at];
        if LOOSE.contains(&char) && self.out.last() == Some(&b' ') {
            self.out.pop();
        }
        self.out.push(char);
        self.at += 1;
    }

    /// Copies a string or a regular expression. In a class of the latter, its end is a character like others.
    fn literal(&mut self, end: u8, error: &'static str) -> Result<(), &'static str> {
        let (from, mut is_class) = (self.at, false);
        self.at += 1;
        loop {
            let char = *self.text.get(self.at).filter(|char| **char != b'\n').ok_or(error)?;
            self.at += if char == b'\\' { 2 } else { 1 };
            match char {
                b'[' if end == b'/' => is_class = true,
                b']' => is_class = false,
                _ if char == end && !is_class => break,
                _ => {}
            }
        }
        self.out.extend_from_slice(self.text.get(from..self.at).ok_or(error)?);
        Ok(())
    }

    /// Copies a template to its end, or to the next expression in it.
    fn template(&mut self) -> Result<(), &'static str> {
        let from = self.at;
        loop {
            let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty()).ok_or("a template does not end")?;
            let is_expression = rest.starts_with(b"${");
            self.at += if rest[0] == b'\\' || is_expression { 2 } else { 1 };
            if is_expression {
                self.templates.push(self.depth);
                self.depth += 1;
            }
            if is_expression || rest[0] == b'`' {
                self.out.extend_from_slice(&self.text[from..self.at]);
                return Ok(());
            }
        }
    }

    fn begins_regex(&self) -> bool {
        let before = self.out.trim_ascii_end();
        let word = before.iter().rev().take_while(|char| is_word(**char)).count();
        match before.last() {
            None => true,
            Some(_) if word > 0 => BEFORE_REGEX.contains(&&before[before.len() - word..]),
            Some(b')' | b']' | b'}' | b'`' | b'"' | b'\'') => false,
            Some(_) => !before.ends_with(b"++") && !before.ends_with(b"--"),
        }
    }

    fn space(&mut self) {
        if self.out.last().is_some_and(|last| ![b' ', b'\n'].contains(last) && !LOOSE.contains(last)) {
            self.out.push(b' ');
        }
    }

    fn line(&mut self) {
        if self.out.last() == Some(&b' ') {
            self.out.pop();
        }
        if self.out.last().is_some_and(|last| *last != b'\n') {
            self.out.push(b'\n');
        }
    }
}

/// Whether a character may be part of a name.
fn is_word(char: u8) -> bool {
    char.is_ascii_alphanumeric() || [b'_', b'$'].contains(&char) || !char.is_ascii()
}

fn position(text: &[u8], of: &[u8]) -> Option<usize> {
    text.windows(of.len()).position(|window| window == of)
}

/// A style sheet without comments and indentation.
///
/// # Errors
/// When a string or a comment does not end.
pub(crate) fn style(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    const LOOSE: &[u8] = b"{};,";
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let rest = &text[at..];
        match rest[0] {
            b'/' if rest.starts_with(b"/*") => {
                at += position(&rest[2..], b"*/").ok_or("a comment does not end")? + 4;
                continue;
            }
            quote @ (b'"' | b'\'') => {
                let end = (1..rest.len()).find(|end| rest[*end] == quote && rest[*end - 1] != b'\\');
                let end = end.ok_or("a string does not end")? + 1;
                out.extend_from_slice(&rest[..end]);
                at += end;
                continue;
            }
            char if char.is_ascii_whitespace() => {
                if out.last().is_some_and(|last| *last != b' ' && !LOOSE.contains(last)) {
                    out.push(b' ');
                }
            }
            char => {
                if LOOSE.contains(&char) && out.last() == Some(&b' ') {
                    out.pop();
                }
                out.push(char);
            }
        }
        at += 1;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_keeps_its_tokens_and_lines() {
        for (source, expected) in [
            ("// a\n/** b\n * c */\nlet a = 1; // d\n\n\n    let b;\n", "let a=1;\nlet b;\n"),
            ("a /* b */ + /** @type {any} */ (c)", "a +(c)"),
            ("return /* a */ b", "return b"),
            ("return /* a\n */ b", "return\nb"),
            ("const { a, b } = c ? d : [e];", "const{a,b}=c?d:[e];"),
            ("a + +b - -c; d ++ / 2 / e", "a + +b - -c;d ++ / 2 / e"),
            ("a = \"// ' `\" + '/* \\' \"';", "a=\"// ' `\" + '/* \\' \"';"),
            ("f(/[`\"'/] */, /\\/ \\//g) ", "f(/[`\"'/] */,/\\/ \\//g)"),
            ("return /  /.test(a / b / c)", "return /  /.test(a / b / c)"),
            (
                "`a  // b ${c  /* d */ + `e  ${ {f:  1} }  /*` }  // ${g}`  ;",
                "`a  // b ${c + `e  ${{f:1}}  /*`}  // ${g}`;",
            ),
            ("`\\`  \\${`  +  a", "`\\`  \\${` + a"),
            ("é  of  ü", "é of ü"),
        ] {
            assert_eq!(String::from_utf8(script(source.as_bytes()).unwrap()).unwrap(), expected);
        }
        for source in ["'a\n'", "`${a", "/* a", "a = /b\n/", "}", "'a\\"] {
            assert!(script(source.as_bytes()).is_err(), "{source}");
        }
    }

    #[test]
    fn a_style_keeps_its_strings_and_the_spaces_between_selectors() {
        let source = "/* a */\n:root {\n    --b: \"/* ; } */\";\n}\n\na b > c:hover ,\nd { e: f  g; }\n";
        assert_eq!(style(source.as_bytes()).unwrap(), b":root{--b: \"/* ; } */\";}a b > c:hover,d{e: f g;}");
        assert!(style(b"a { content: \"").is_err());
    }
}
