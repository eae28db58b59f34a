// Unpack the Chromium of @sparticuz/chromium, whose own code does so for one cloud only.
// usage: node unpack.mjs FOLDER-OF-THE-PACKAGES
import { createReadStream, createWriteStream } from 'node:fs'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress } from 'node:zlib'

const packages = process.argv[2]
const packed = path.join(packages, 'node_modules/@sparticuz/chromium/bin')
for (const name of ['al2023.tar', 'fonts.tar', 'chromium']) {
  const target = path.join(packages, name)
  const mode = name === 'chromium' ? 0o700 : 0o600
  await pipeline(
    createReadStream(path.join(packed, `${name}.br`)),
    createBrotliDecompress(),
    createWriteStream(target, { mode }),
  )
}
