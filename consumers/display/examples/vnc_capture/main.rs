//! Saves what a VNC server shows as a PNG, by the viewer library `vnc-rs`.
//!
//! `vnc_capture ADDR FILE` saves the first whole picture. `vnc_capture ADDR` stays connected; for
//! each file that is named in a line of its input it saves the picture it has by then, and answers
//! with the line. A password is taken from the environment, as `VNC_PASSWORD`.

mod screen;

use std::net::SocketAddr;

use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use vnc::PixelFormat;
use vnc::VncConnector;
use vnc::VncEncoding;

use crate::screen::Screen;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: vnc_capture ADDR [FILE]")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(capture(address.parse()?, arguments.next()));
    // Else it would wait for the input to end.
    runtime.shutdown_background();
    done
}

async fn capture(address: SocketAddr, file: Option<String>) -> Outcome<()> {
    let password = std::env::var("VNC_PASSWORD").unwrap_or_default();
    let client = VncConnector::new(TcpStream::connect(address).await?)
        .set_auth_method(async move { Ok(password) })
        .set_pixel_format(PixelFormat::rgba())
        .add_encoding(VncEncoding::Zrle)
        .add_encoding(VncEncoding::Raw)
        .add_encoding(VncEncoding::DesktopSizePseudo)
        .build()?;
    let client = client.try_start().await?.finish()?;
    let mut screen = Screen::default();
    screen.complete(&client).await?;
    if let Some(file) = file {
        return screen.save(&file);
    }
    let mut files = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            event = client.recv_event() => screen.take(&client, event?).await?,
            line = files.next_line() => match line? {
                Some(file) => {
                    screen.complete(&client).await?;
                    screen.save(&file)?;
                    println!("{file}");
                }
                None => return Ok(()),
            },
        }
    }
}
