// Run the reference PDS, configured by PDS_* variables, until SIGTERM.
import { changeLimits } from './limits.mjs'
import { listenOn, load } from './packages.mjs'

const { PDS } = await load('@atproto/pds')
if (process.env.STACK_RATE_LIMITS) await changeLimits(process.env.STACK_RATE_LIMITS)
await PDS.run({ onCreated: (pds) => listenOn(pds.app) })
process.exit(0)
