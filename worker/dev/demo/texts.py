"""What the people of the demo write: moods, pieces and KidLisp programs."""

from __future__ import annotations

from collections.abc import Mapping

MOODS = (
    "drawing on the train",
    "☀️ finally",
    "i made a creature today & it has six legs",
    "👩🏽‍🎨✨",
    "tired, but in a good way",
    "¿y si todo fuera píxeles?",
    "雨の日のドット絵",
    "line one\nline two\nline three",
    "so many mosaics",
    "😶‍🌫️",
    "<b>not bold</b> & \"quoted\" 'twice' \\o/",
    "مزاج جيد",
    "ok",
    "it works on my machine",
)
EDITED_MOOD = "it works on every machine"
LOST_MOOD = "nobody told the queue about me"
GUEST_MOOD = "guests have no moods on the PDS"
STRANGER_MOOD = "i have no account there yet"

PIECES: Mapping[str, str] = {
    "bounce": """// A ball that bounces off the walls.
let x = 8, y = 8, dx = 1, dy = 2;
export function paint({ wipe, ink, screen }) {
  if (x < 0 || x > screen.width) dx = -dx;
  if (y < 0 || y > screen.height) dy = -dy;
  wipe(0).ink("yellow").circle((x += dx), (y += dy), 4, "fill");
}
""",
    "starfield": """// Stars, faster the nearer they are.
const stars = Array.from({ length: 99 }, (_, n) => ({ x: n * 37, y: n * 53, z: 1 + (n % 4) }));
export function paint({ wipe, ink, screen }) {
  wipe(0);
  for (const s of stars) ink(63 * s.z).plot((s.x += s.z) % screen.width, s.y % screen.height);
}
""",
    "héllo wörld": """export function paint({ wipe, ink }) {
  wipe("teal").ink("white").write("¡Hola!");
}
""",
    "metronome": """export function sim({ sound }) {
  sound.time.beat(120, () => sound.synth({ tone: 880, duration: 0.05 }));
}
""",
    "tiny": "export{}\n",
    "plotter": """// Draws where the pen is.
export function act({ event: e, ink }) {
  if (e.is("draw")) ink("red").line(e.x - e.delta.x, e.y - e.delta.y, e.x, e.y);
}
""",
    "clock": "export const paint = ({ wipe }) => wipe(new Date().getSeconds() * 4);\n",
    "echo-room": "export const boot = ({ params, ink }) => ink(255).write(params.join(' '));\n",
}

PROGRAMS = (
    '(wipe "navy") (ink "gold") (circle 64 64 (wiggle 30))',
    "(line 0 0 width height)",
    '(def spin 0)\n(later tick\n  (now spin (+ spin 1)))\n(ink "pink")\n(box spin 10 20 20)',
    '(wipe (? "red" "green" "blue"))',
    "; nothing but a comment",
    "(repeat 12 (ink (random 255)) (plot (random width) (random height)))",
    '(write "こんにちは" 4 4)',
    "(scroll 1 0) (ink rainbow) (line 0 (mouse y) 1 (mouse y))",
    "(blur 2)\n(zoom 1.01)",
    "(tap (wipe black))",
)
