// Replace rate limits of the PDS, so that tests need not wait for long windows to end. Each item in
// STACK_RATE_LIMITS="5000/3600=300/20 1000/86400=50/20" is OLD=NEW, both in points/seconds.
import { load } from './packages.mjs'

export async function changeLimits(setting) {
  const changes = new Map(setting.split(' ').map((change) => change.split('=')))
  const { RateLimiterMemory } = await load('rate-limiter-flexible')
  const limiter = Object.getPrototypeOf(RateLimiterMemory).prototype
  const { get, set } = Object.getOwnPropertyDescriptor(limiter, 'duration')
  Object.defineProperty(limiter, 'duration', {
    get,
    // The constructor sets the points before the duration.
    set(seconds) {
      const [points, window] = (changes.get(`${this.points}/${seconds}`) ?? '').split('/')
      if (points) this.points = Number(points)
      set.call(this, window ? Number(window) : seconds)
    },
  })
}
