/** A token bucket (Turner 1986): a rate limit that allows bursts. Times are in ms. */
export class Bucket {
  readonly size: number
  readonly #perSecond: number
  #tokens: number
  #at: number

  /** Creates a full bucket of `size` tokens, which refills by `perSecond` tokens a second. */
  constructor(size: number, perSecond: number, now: number) {
    this.size = size
    this.#perSecond = perSecond
    this.#tokens = size
    this.#at = now
  }

  /** Returns the seconds until the bucket has `tokens` tokens, rounded up; 0 if it has them now. */
  wait(tokens: number, now: number): number {
    this.#refill(now)
    return this.#tokens >= tokens ? 0 : Math.ceil((tokens - this.#tokens) / this.#perSecond)
  }

  take(tokens: number): void {
    this.#tokens -= tokens
  }

  isFull(now: number): boolean {
    return this.used(now) === 0
  }

  /** Returns the count of tokens that are missing from a full bucket. */
  used(now: number): number {
    this.#refill(now)
    return this.size - this.#tokens
  }

  #refill(now: number): void {
    this.#tokens = Math.min(this.size, this.#tokens + ((now - this.#at) / 1_000) * this.#perSecond)
    this.#at = now
  }
}
