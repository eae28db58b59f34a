// The reference PDS, configured by PDS_* variables, until SIGTERM.
import { keepToLoopback, load } from './packages.mjs'

const { PDS } = await load('@atproto/pds')
await PDS.run({ onCreated: (pds) => keepToLoopback(pds.app) })
process.exit(0)
