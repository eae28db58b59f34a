// Thumbnails of an image file: as most programs make them with sharp, and as fast as it can.
import sharp from 'sharp'

const BLACK = { r: 0, g: 0, b: 0, alpha: 1 }

/** Return a PNG with sharp's own settings; an image with transparency keeps it. */
export function usualPng(file) {
  return contain(sharp(file)).png().toBuffer()
}

/** Return an opaque PNG that is scaled and compressed as fast as possible. */
export function fastPng(file) {
  return fastest(file).png({ compressionLevel: 1 }).toBuffer()
}

/** Return an opaque JPEG of high quality that is scaled and encoded as fast as possible. */
export function fastJpeg(file) {
  const settings = { quality: 90, chromaSubsampling: '4:4:4', optimizeCoding: false }
  return fastest(file).jpeg(settings).toBuffer()
}

function fastest(file) {
  return contain(sharp(file).flatten({ background: BLACK }), { kernel: 'linear' })
}

function contain(image, options = {}) {
  return image.resize(512, 512, { fit: 'contain', background: BLACK, ...options })
}
