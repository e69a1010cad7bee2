//! [`Failure`]: what is left of an error once it is sent to another process: its words.

use std::error::Error;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A chain of sources longer than this goes in a circle, or is of no use to any reader.
const MAX_SOURCES: usize = 64;
/// In place of what comes after them.
const MORE: &str = "more sources, which are left out";

/// An error that can be sent: for jobs that use `?` on anything that is a
/// [`std::error::Error`].
///
/// It keeps the words of the error and of its sources (the first 64), not their types: whoever has
/// to tell errors apart gives the job an error type of its own. As `anyhow::Error` it is no
/// `Error` itself, which is what lets `?` take any error; it converts into
/// `Box<dyn Error + Send + Sync>`, so that `?` takes it up in functions that return one.
///
/// `{}` is the message, `{:#}` the message and its sources in one line, and `{:?}` all of it over
/// several lines, as `fn main() -> Result<(), Failure>` prints it. It is serialised as a list of
/// texts: the message, then the sources.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use pool::{Failure, Pool, pool_job, submit};
///
/// #[pool_job]
/// fn first_number(file: &Path) -> Result<u32, Failure> {
///     let text = std::fs::read_to_string(file)?;
///     let first = text.lines().next().ok_or(Failure::msg("no line is there"))?;
///     Ok(first.parse()?)
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = Pool::new(1)?;
///     let failure = submit!(pool => first_number, Path::new("/none")).wait()?.unwrap_err();
///     assert!(failure.message().contains("No such file"));
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    message: String,
    sources: Vec<String>,
}

impl Failure {
    /// A failure without sources.
    pub fn msg(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), sources: Vec::new() }
    }

    /// For an error that hides its type, which `?` cannot take: `Failure::from_dyn(&*boxed)`.
    pub fn from_dyn(error: &(dyn Error + 'static)) -> Failure {
        let mut sources = Vec::new();
        let mut next = error.source();
        while let Some(source) = next {
            if sources.len() == MAX_SOURCES {
                sources.push(MORE.to_owned());
                break;
            }
            sources.push(source.to_string());
            next = source.source();
        }
        Failure { message: error.to_string(), sources }
    }

    /// What happened, in the words of the error.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Why, in the words of the error's sources: the nearest first.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &str> {
        self.sources.iter().map(String::as_str)
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::from_dyn(&error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            for source in &self.sources {
                write!(f, ": {source}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { message, sources } = self;
        if f.alternate() {
            return f
                .debug_struct("Failure")
                .field("message", message)
                .field("sources", sources)
                .finish();
        }
        f.write_str(message)?;
        if !sources.is_empty() {
            f.write_str("\n\nCaused by:")?;
            for source in sources {
                write!(f, "\n    {}", source.replace('\n', "\n    "))?;
            }
        }
        Ok(())
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(std::iter::once(&self.message).chain(&self.sources))
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Failure, D::Error> {
        let mut texts = Vec::<String>::deserialize(from)?.into_iter();
        let message = texts.next().ok_or_else(|| D::Error::invalid_length(0, &"a message"))?;
        Ok(Failure { message, sources: texts.collect() })
    }
}

/// A failure as an [`Error`]: each link of the chain is the source of the one before.
#[derive(Debug)]
struct Link {
    message: String,
    source: Option<Box<Link>>,
}

impl From<Failure> for Link {
    fn from(failure: Failure) -> Link {
        // What came from elsewhere may be longer than what was made here, and links are dropped
        // one inside the other.
        let kept = failure.sources.into_iter().take(MAX_SOURCES + 1).rev();
        let source = kept.fold(None, |source, message| Some(Box::new(Link { message, source })));
        Link { message: failure.message, source }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Link {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|link| link as &dyn Error)
    }
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        Box::new(Link::from(failure))
    }
}

impl From<Failure> for Box<dyn Error + Send> {
    fn from(failure: Failure) -> Self {
        Box::new(Link::from(failure))
    }
}

impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::new(Link::from(failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[derive(Debug)]
    struct Layer(u32);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "layer {}", self.0)
        }
    }

    /// Down to zero; above a hundred it is its own source.
    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            static BELOW: [Layer; 4] = [Layer(0), Layer(1), Layer(2), Layer(3)];
            match self.0 {
                0 => None,
                n @ 1..=4 => Some(&BELOW[n as usize - 1]),
                _ => Some(self),
            }
        }
    }

    fn layers() -> Failure {
        Failure::from(Layer(2))
    }

    #[test]
    fn message_and_chain_are_those_of_the_error_and_survive_the_journey() {
        let failure = layers();
        assert_eq!(failure.message(), "layer 2");
        assert_eq!(failure.sources().collect::<Vec<_>>(), ["layer 1", "layer 0"]);
        for failure in [failure, Failure::msg("alone"), Failure::msg(String::new())] {
            let bytes = codec::encode(&failure).unwrap();
            assert_eq!(codec::decode::<Failure>(&bytes), Ok(failure));
        }
        let text = codec::decode::<Failure>(&[0x90]).unwrap_err();
        assert!(text.contains("a message"), "{text}");
    }

    #[test]
    fn a_chain_that_goes_in_a_circle_ends() {
        let failure = Failure::from(Layer(1000));
        assert_eq!(failure.sources().len(), MAX_SOURCES + 1);
        assert_eq!(failure.sources().last(), Some(MORE));
    }

    #[test]
    fn a_chain_of_any_length_from_elsewhere_does_no_harm() {
        let texts = vec!["a"; 500_000];
        let failure: Failure = codec::decode(&codec::encode(&texts).unwrap()).unwrap();
        drop(Box::<dyn Error>::from(failure));
    }

    #[test]
    fn question_marks_take_it_up_on_both_sides() {
        fn any() -> Result<(), Failure> {
            Err(Layer(1))?;
            Ok(())
        }
        fn passed_on() -> Result<(), Failure> {
            any()?;
            Ok(())
        }
        fn boxed() -> Result<(), Box<dyn Error>> {
            Ok(passed_on()?)
        }
        fn for_threads() -> Result<(), Box<dyn Error + Send + Sync>> {
            Ok(passed_on()?)
        }
        let there: Box<dyn Error + Send> = passed_on().unwrap_err().into();
        let all = [boxed().unwrap_err(), for_threads().unwrap_err() as Box<dyn Error>, there];
        for error in all {
            assert_eq!(error.to_string(), "layer 1");
            let source = error.source().unwrap();
            assert_eq!(source.to_string(), "layer 0");
            assert!(source.source().is_none());
            // And back.
            assert_eq!(Failure::from_dyn(&*error), passed_on().unwrap_err());
        }
    }

    #[test]
    fn it_can_be_read_in_one_line_and_in_several() {
        assert_eq!(layers().to_string(), "layer 2");
        assert_eq!(format!("{:#}", layers()), "layer 2: layer 1: layer 0");
        assert_eq!(format!("{:?}", layers()), "layer 2\n\nCaused by:\n    layer 1\n    layer 0");
        assert_eq!(format!("{:?}", Failure::msg("alone")), "alone");
        assert!(format!("{:#?}", layers()).starts_with("Failure {\n    message: \"layer 2\""));
    }
}
