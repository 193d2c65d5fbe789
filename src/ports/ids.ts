/** The only source of identities that are not derived from content. */
export interface Ids {
  /** A random UUID, lower case. */
  uuid(): string;
}
