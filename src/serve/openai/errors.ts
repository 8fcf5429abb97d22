/**
 * Errors in the shape that OpenAI's clients read.
 *
 * @module
 */

/** What of an error a client acts upon, beside its status and message. */
export interface ApiErrorDetails {
  /** The field of the request that is wrong. */
  readonly param?: string;
  /** What programs tell it by. */
  readonly code?: string;
  /** Seconds until another attempt is worthwhile. */
  readonly retryAfter?: number;
}

/** A request that is not answered. */
export class ApiError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "ApiError";
  /** Of the response. */
  readonly status: number;
  readonly #details: ApiErrorDetails;

  /** @param status of the response; 500 and above are the server's fault */
  constructor(status: number, message: string, details: ApiErrorDetails = {}) {
    super(message);
    this.status = status;
    this.#details = details;
  }

  /** The body of the response. */
  toJSON(): Record<string, unknown> {
    const { param = null, code = null } = this.#details;
    const type = this.status === 429
      ? "rate_limit_error"
      : this.status >= 500
      ? "server_error"
      : "invalid_request_error";
    return { error: { message: this.message, type, param, code } };
  }

  /** The response. */
  toResponse(): Response {
    const { retryAfter } = this.#details;
    const response = Response.json(this.toJSON(), { status: this.status });
    if (retryAfter !== undefined) response.headers.set("Retry-After", String(retryAfter));
    return response;
  }
}

/** A request with something wrong in it. */
export function invalid(message: string, param: string, code?: string): ApiError {
  return new ApiError(400, message, { param, ...(code === undefined ? {} : { code }) });
}

/** Any error as one that can be answered with. @param report told of what is not for clients */
export function asApiError(error: unknown, report: (error: unknown) => void): ApiError {
  if (error instanceof ApiError) return error;
  report(error);
  return new ApiError(500, "The server failed to answer; its log says why", {
    code: "internal_error",
  });
}
