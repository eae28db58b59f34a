// Run a PLC directory on PLC_PORT until SIGTERM, and save its operations in PLC_FILE. It listens on
// the loopback, or on PLC_HOST.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { listenOn, load } from './packages.mjs'

const { MockDatabase, PlcServer } = await load('@did-plc/server')
const { CID } = await load('multiformats/cid', '@did-plc/server')

/** The in-memory database of @did-plc/server, saved to a file after each operation. */
class FileDatabase extends MockDatabase {
  constructor(file) {
    super()
    this.file = file
    if (existsSync(file)) this.contents = revive(JSON.parse(readFileSync(file, 'utf8')))
  }

  async validateAndAddOp(did, proposed) {
    await super.validateAndAddOp(did, proposed)
    // The write is synchronous, so that two operations never write at the same time. The file is
    // renamed, so that a killed process leaves either the old or the new file.
    writeFileSync(`${this.file}.new`, JSON.stringify(this.contents, cidsAsText))
    renameSync(`${this.file}.new`, this.file)
  }
}

function cidsAsText(key, value) {
  return key === 'cid' ? String(this.cid) : value
}

function revive(contents) {
  const asIndexed = (op) => ({ ...op, cid: CID.parse(op.cid), createdAt: new Date(op.createdAt) })
  return Object.fromEntries(
    Object.entries(contents).map(([did, operations]) => [did, operations.map(asIndexed)]),
  )
}

const db = new FileDatabase(process.env.PLC_FILE)
const plc = PlcServer.create({ db, port: Number(process.env.PLC_PORT) })
listenOn(plc.app, process.env.PLC_HOST)
await plc.start()
process.once('SIGTERM', async () => {
  await plc.destroy()
  process.exit(0)
})
