/* The kinds of Safe Harbor, as they are written into a masked text. */
#ifndef CP_SERVER_PHI_KIND_H
#define CP_SERVER_PHI_KIND_H

typedef enum cp_phi_kind {
    CP_PHI_NONE,
    CP_PHI_NAME,
    CP_PHI_PLACE, /* smaller than a state */
    CP_PHI_DATE,  /* all but the year; ages over 89 */
    CP_PHI_PHONE,
    CP_PHI_FAX,
    CP_PHI_EMAIL,
    CP_PHI_SSN,
    CP_PHI_MRN,
    CP_PHI_HEALTH_PLAN,
    CP_PHI_ACCOUNT,
    CP_PHI_LICENCE,
    CP_PHI_VEHICLE,
    CP_PHI_DEVICE,
    CP_PHI_URL,
    CP_PHI_IP,
    CP_PHI_BIOMETRIC,
    CP_PHI_PHOTO,
    CP_PHI_OTHER,
    CP_PHI_N_KINDS,
} cp_phi_kind;

const char *cp_phi_kind_name(cp_phi_kind kind); /* "NAME", ... */

#endif
