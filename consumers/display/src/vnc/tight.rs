//! The zlib streams of the Tight encoding.

use flate2::Compress;
use flate2::Compression;
use flate2::FlushCompress;
use flate2::Status;
use rfb_encodings::tight::TightStreamCompressor;

/// How many there are: two bits say which.
const STREAMS: usize = 4;

/// One compressor for each kind of data, made when it is first used.
#[derive(Debug, Default)]
pub(super) struct TightStreams {
    streams: [Option<Compress>; STREAMS],
}

impl TightStreamCompressor for TightStreams {
    fn compress_tight_stream(
        &mut self,
        stream_id: u8,
        _level: u8,
        input: &[u8],
    ) -> Result<Vec<u8>, String> {
        let stream = self
            .streams
            .get_mut(usize::from(stream_id))
            .ok_or_else(|| format!("no stream {stream_id}"))?
            .get_or_insert_with(|| Compress::new(Compression::fast(), true));
        // What is longer than this is compressed in more than one step.
        let mut output = Vec::with_capacity(input.len() / 2 + 64);
        let mut rest = input;
        loop {
            let before = stream.total_in();
            let status = stream
                .compress_vec(rest, &mut output, FlushCompress::Sync)
                .map_err(|error| error.to_string())?;
            let taken = usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            // Room that is left means that all has been written; a second flush would add to it.
            if rest.is_empty() && (output.len() < output.capacity() || status == Status::BufError) {
                return Ok(output);
            }
            output.reserve(input.len() / 2 + 64);
        }
    }
}
